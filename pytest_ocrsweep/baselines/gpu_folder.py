"""The folder in which a GPU's times are recorded."""

from __future__ import annotations

import re

from ..errors import BaselineError
from ..files.text import quoted


def gpu_folder(name: str | None) -> str:
    """The folder of a GPU's times, `nvidia-h200` for `NVIDIA H200`; `cpu` where there is no GPU."""
    if name is None:
        return "cpu"
    folder = re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.")
    if not folder:
        raise BaselineError(f"a GPU's name needs a letter or a digit to be a folder, got {quoted(name)}")
    return folder
