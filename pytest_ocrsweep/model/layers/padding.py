"""What SAM's windows compute for the padding that makes them whole: an implementation may leave it out."""

from __future__ import annotations

from ..architecture import Sam
from ..kernels import Kernels
from ..symbolic import Size


def without_padding(sam: Sam, images: Size, grid: int, window: int, attention: Kernels) -> Kernels:
    """The attention of windows over [images, grid²], of which only products of the map's own tokens are needed.

    A window at the edge has fewer rows, or columns, of its own than `window`.
    """
    edges = [min(window, grid - start) for start in range(0, grid, window)]
    squares, padded = sum(edge * edge for edge in edges), len(edges) * window
    dim = sam.width // sam.heads
    tokens = padded**2 - grid**2
    pairs = (len(edges) * window**2) ** 2 - squares**2  # of a query and a key in one window
    lines = padded**2 * window - squares * grid  # of a query and a row, or a column, of its window
    products: dict[str, Size] = {
        "qkv": 2 * tokens * sam.width * 3 * sam.width,
        "proj": 2 * tokens * sam.width * sam.width,
        "scores": 2 * pairs * sam.heads * dim,
        "values": 2 * pairs * sam.heads * dim,
        "fused": 4 * pairs * sam.heads * dim,
        "rel_pos/rows": 2 * lines * sam.heads * dim,
        "rel_pos/columns": 2 * lines * sam.heads * dim,
    }
    exponentials = ("softmax", "fused")
    for k in attention:
        functions = k.functions - images * pairs * sam.heads if k.path in exponentials else k.functions
        yield k._replace(unneeded=k.unneeded + images * products.get(k.path, 0), functions=functions)
