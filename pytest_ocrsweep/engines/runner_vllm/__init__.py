"""vLLM in an interpreter of its own, which runs this folder by its path and has nothing else of this project.

Python 3.10, vLLM and what vLLM brings are enough. `__main__` has the protocol.
"""
