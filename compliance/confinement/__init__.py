"""Confines foreign code by means of the operating system: handlers that are run, apps that are synthesised.

Nothing needs to be installed, and no privilege is needed. `landlock` is for files, `seccomp` for system
calls, `privileges` for users, capabilities and namespaces; `app` starts a confined app. The modules import
only the standard library, so that the processes that start confined code are small.
"""
