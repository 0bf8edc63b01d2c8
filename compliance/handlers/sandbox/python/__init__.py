"""What runs beside a Python handler, in its process. Nothing here may be imported by the audit."""
