"""What a page shows of `ocrsweep` is what it prints now."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_ocrsweep.cli import main

DOCS = Path(__file__).parents[2] / "docs"
# Commands that need a GPU, and words that name a file which the page has made before.
NEED = ("calibrate", "gate", "profile", "compare", "report", "merge", "history", "shapes", "import")
MADE = ("shapes.sqlite", "deepseek-ocr-small")
LEFT_OUT = "..."


def shown() -> Iterator[tuple[str, str, str]]:
    """Of each page: a command of `ocrsweep`, and what it prints."""
    for page in sorted(DOCS.glob("*.md")):
        for block in re.findall(r"```console\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            for asked in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                command, _, printed = asked.partition("\n")
                alone = not any(name in command for name in MADE)
                if command.startswith("ocrsweep ") and command.split()[1] not in NEED and alone and printed.strip():
                    yield page.name, command, printed.strip()


@pytest.mark.parametrize(
    ("page", "command", "printed"), [pytest.param(*each, id=f"{each[0]}: {each[1]}") for each in shown()]
)
def test_a_page_shows_what_a_command_prints(
    page: str, command: str, printed: str, capsys, monkeypatch, tmp_path
) -> None:
    monkeypatch.chdir(tmp_path)
    main(shlex.split(command, comments=True)[1:])
    found = [line.rstrip() for line in capsys.readouterr().out.strip().splitlines()]
    pattern = "".join(
        "(.*\n)*?" if line.strip() == LEFT_OUT else f"{re.escape(line.rstrip())}\n" for line in printed.splitlines()
    )
    assert re.fullmatch(pattern, "\n".join(found) + "\n"), "\n".join(found)
