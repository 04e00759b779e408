"""pytest in a process of its own, forked from one that has imported torch: each import takes 7 s of a core."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    [
        *("pytest", "torch.utils.flop_counter"),
        "transformers.models.deepseek_ocr2.modeling_deepseek_ocr2",
        "transformers.models.unlimited_ocr.modeling_unlimited_ocr",
    ]
)


def run(folder: Path, *arguments: str, environment: Mapping[str, str], seconds: float = 120) -> int:
    """Its exit code, or less a signal's number; what it prints is in `printed.txt` in the folder."""
    process = SERVER.Process(target=_run, args=(folder, arguments, {**os.environ, **environment}))
    process.start()
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        process.join()
    assert process.exitcode is not None
    return process.exitcode


def _run(folder: Path, arguments: tuple[str, ...], environment: dict[str, str]) -> None:
    """As `python -m pytest` does in that folder, with one thread."""
    import torch

    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    with open("printed.txt", "wb") as printed:
        os.dup2(printed.fileno(), 1)
        os.dup2(printed.fileno(), 2)
    torch.set_num_threads(1)
    sys.argv, sys.path[:0] = ["pytest", *arguments], [""]
    sys.exit(pytest.main([*arguments]))
