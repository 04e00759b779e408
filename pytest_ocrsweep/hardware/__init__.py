"""What devices promise, and what they hold and serve."""
