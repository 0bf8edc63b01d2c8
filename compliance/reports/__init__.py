"""Reports, a file a format: each makes a text of a scorecard, and knows nothing else."""
