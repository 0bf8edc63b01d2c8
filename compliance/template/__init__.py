"""What is judged: templates and assemblies, read and resolved."""
