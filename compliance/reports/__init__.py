"""Reports: one module for each format, with `render(card: Scorecard) -> str`.

The command line imports the module that has the format's name. docs/architecture.md lists what else a new
format needs; `github.py` is the shortest example.
"""

# The format of a report by the end of its file's name. The first end that fits decides.
SUFFIXES = {
    ".sarif.json": "sarif",
    ".sarif": "sarif",
    ".html": "html",
    ".md": "markdown",
    ".json": "json",
    ".xml": "junit",
    ".txt": "terminal",
}
