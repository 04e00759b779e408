"""Files on disk: atomic writes, reads of files that others wrote, image sizes, and text for messages."""
