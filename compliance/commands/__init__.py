"""One module a command, of the same name; `compliance.cli` imports the one that is run."""
