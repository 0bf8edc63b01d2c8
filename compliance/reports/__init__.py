"""Reports, a file a format: each makes a text of a scorecard. HTML also shows lines of the app's source."""
