"""The commands, each in a module of the same name. `compliance.cli` imports the one that is run."""
