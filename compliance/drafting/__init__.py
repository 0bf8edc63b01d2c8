"""First documents for stacks that have none."""
