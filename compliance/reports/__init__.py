"""Reports, a file a format: each makes a text of a scorecard. HTML also shows lines of the app's source.

A new format is a module here with `render(card: Scorecard) -> str`, and its name in these two tables.
"""

FORMATS = ("terminal", "json", "markdown", "html", "sarif", "junit", "github")

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
