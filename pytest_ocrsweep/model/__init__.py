"""Exact integers: from a page's crop grid and an architecture to what every kernel costs."""
