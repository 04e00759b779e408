"""Engines that people serve with, timed: each in an interpreter of its own, or behind HTTP."""
