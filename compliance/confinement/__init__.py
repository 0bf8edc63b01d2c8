"""What the operating system keeps foreign code from: handlers that are run, apps that are synthesised.

Nothing needs to be installed, and no privilege is needed. `landlock` is for files, `seccomp` for system
calls, `privileges` for users, capabilities and namespaces; `app` starts an app with all that it may have.
They import the standard library alone: what is confined is started by small processes of their own.
"""
