"""The harness in the process of a Python handler. The audit must not import it."""
