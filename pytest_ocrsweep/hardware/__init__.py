"""What devices promise, what bounds a stage on them, and what they hold and serve."""
