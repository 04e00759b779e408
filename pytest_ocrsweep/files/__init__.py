"""Files on disk: atomic writes, reads of what others wrote, the size of an image."""
