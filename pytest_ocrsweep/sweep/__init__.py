"""What is swept, and each of its points from a price to a verdict."""
