"""What maintains this repository, and is not in the wheel."""
