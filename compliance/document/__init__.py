"""What must hold, and what was agreed about it: requirements, waivers, baselines, history, settings."""
