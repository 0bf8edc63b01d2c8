"""What follows from an assembly: statements, wiring, subjects, metrics."""
