"""Pages as PNG files in memory: lines of dark strokes on white, each page of a load different from all others."""

from __future__ import annotations

from io import BytesIO

from .served import Load

LINE, STROKE, MARGIN = 14, 8, 20  # pixels from line to line, of a line's height, and at top and bottom
INK = 0.45  # of a line is dark


def pages(load: Load, *salt: int) -> list[bytes]:
    """The pages of a load, and after them those of its warm-up; with other `salt` they are others."""
    return [png(load.width, load.height, load.seed, *salt, page) for page in range(load.pages + load.warmup)]


def png(width: int, height: int, *numbers: int) -> bytes:
    """One page; the same numbers give the same bytes."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(numbers)
    pixels = np.full((height, width, 3), 255, np.uint8)
    for top in range(min(MARGIN, height - 1), height, LINE):
        dark = random.random(width) < INK
        lines = pixels[top : top + STROKE]
        lines[:, dark] = random.integers(0, 90, (len(lines), int(dark.sum()), 3), dtype=np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)  # others take three times as long
    return file.getvalue()
