"""The fenced blocks of the project's pages, and the commands in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


class Command(NamedTuple):
    """What a page lets a reader type, without `$`, and what it shows below it."""

    words: str
    printed: str


class Block(NamedTuple):
    """A fenced block of a page."""

    page: str
    language: str
    text: str

    @property
    def first(self) -> str:
        """Its first line, by which a list can name it."""
        return self.text.partition("\n")[0].strip()

    @property
    def commands(self) -> list[Command]:
        """The commands behind a `$`; a line that ends with a backslash goes on."""
        asked = re.split(r"^\$ ", self.text.replace("\\\n", " "), flags=re.MULTILINE)[1:]
        return [Command(words.strip(), printed) for words, _, printed in (each.partition("\n") for each in asked)]

    @property
    def doctest(self) -> bool:
        return ">>> " in self.text


def blocks(page: Path) -> Iterator[Block]:
    for language, text in FENCE.findall(page.read_text(encoding="utf-8")):
        yield Block(page.name, language, text)
