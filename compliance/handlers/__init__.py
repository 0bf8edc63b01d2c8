"""Lambda handlers: run in a sandbox, and analysed as text."""
