"""Points under pytest-xdist: which worker runs what, and what a lost worker costs."""
