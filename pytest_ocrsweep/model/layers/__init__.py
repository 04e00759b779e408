"""The vendor's layers, each a generator that yields one named line per kernel, in the order they run."""
