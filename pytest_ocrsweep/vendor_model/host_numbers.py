"""Grids of pages as numbers of the host, which a model at a page's own resolution reads back in its forward.

transformers' classes take these as tensors, and `.tolist()` them in every layer: neither the meta device nor a CUDA
graph allows it for tensors that are not on the host, and on the host each subtraction would be an operation of torch's.
Arrays of numpy have the methods that are called, and no operation of theirs reaches torch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model.geometry import Workload


class HostNumbers(np.ndarray[Any, np.dtype[np.int64]]):
    """Whole numbers on the host with torch's name for an axis: `prod(dim=1)`."""

    def prod(self, *axis: Any, **named: Any) -> Any:
        return super().prod(*axis, **{"axis" if name == "dim" else name: value for name, value in named.items()})


def page_grids(work: Workload, merge: int) -> NDArray[np.int64]:
    """[pages, 3]: frames, rows and columns of patches of each page. transformers' `image_grid_thw`."""
    grid = [1, work.grid.rows * merge, work.grid.columns * merge]
    return np.array([grid] * work.batch).view(HostNumbers)


def page_ends(work: Workload, merge: int) -> NDArray[np.int64]:
    """[pages + 1]: where the patches of each page begin and end. transformers' `cu_seqlens`."""
    patches = work.image_tokens * merge**2
    return np.arange(0, work.batch * patches + 1, patches).view(HostNumbers)
