"""The layers of the reference model: each is a generator of named kernels, in the order in which they run."""
