"""Reports, a file a format: each makes a text of a scorecard. HTML also shows lines of the app's source.

A new format is a module here with `render(card: Scorecard) -> str`, its name in `Format` of model.py, and
the end of its files in this table.
"""

# What the name of a report's file says of its format; the first that fits.
SUFFIXES = {
    ".sarif.json": "sarif",
    ".sarif": "sarif",
    ".html": "html",
    ".md": "markdown",
    ".json": "json",
    ".xml": "junit",
    ".txt": "terminal",
}
