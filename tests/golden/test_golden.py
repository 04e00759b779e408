"""What users see is what it was: golden copies, in `data/`, of help texts, tables, reports, messages and files.

    python -m pytest tests/golden                  compares
    GOLDEN=accept python -m pytest tests/golden    writes the copies anew

A change of wording is made on purpose: accept it in a commit of its own. `copies.py` says what is frozen; everything
runs in processes of its own, so the copies hold however the package is laid out inside.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from difflib import unified_diff
from pathlib import Path

import pytest
from golden import copies

DATA = Path(__file__).parent / "data"
ACCEPT = "GOLDEN=accept python -m pytest tests/golden"
Part = Callable[[Path], copies.Copies]

pytest.importorskip("jinja2", reason="needs the report extra: pip install .[report]")
pytest.importorskip("pyarrow", reason="needs the columns extra: pip install .[columns]")


def difference(copy: Path, now: str) -> str:
    """A unified diff from the copy to what is there now; empty if they are the same."""
    was = copy.read_text(encoding="utf-8") if copy.exists() else ""
    name = str(copy.relative_to(DATA.parents[2]))
    return "\n".join(unified_diff(was.splitlines(), now.splitlines(), name, "now", lineterm=""))


def accept(folder: Path, seen: copies.Copies) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, text in seen.items():
        (folder / name).write_text(text, encoding="utf-8")


@pytest.mark.parametrize("part", copies.ALL, ids=lambda part: part.__name__)
def test_what_users_see_is_what_it_was(part: Part, tmp_path: Path) -> None:
    seen = part(tmp_path)
    folder = DATA / part.__name__
    if os.environ.get("GOLDEN") == "accept":
        accept(folder, seen)
    names = sorted({*seen, *(path.name for path in folder.glob("*"))})
    differences = [text for name in names if (text := difference(folder / name, seen.get(name, "")))]
    if differences:
        pytest.fail("\n".join([*differences, f"to accept it: {ACCEPT} -k {part.__name__}"]), pytrace=False)


def test_a_difference_is_shown_as_a_diff_and_a_missing_copy_is_one() -> None:
    copy = DATA / "command_line" / "devices.txt"
    text = copy.read_text(encoding="utf-8")
    assert difference(copy, text) == ""
    assert "\n-a100-40 " in difference(copy, text.replace("a100-40 ", "a100-41 "))
    assert difference(DATA / "no-such-copy.txt", "seen\n").endswith("\n+seen")
