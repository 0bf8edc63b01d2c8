"""Drafts first documents for stacks without one."""
