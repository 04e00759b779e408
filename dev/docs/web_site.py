"""Makes the documentation's site from the pages as they are: `python dev/docs/web_site.py BUILD` writes BUILD/site.

The order of the pages is that of the tables of docs/index.md. A link out of the pages becomes plain text, because
where the repository is hosted is not said in it. A broken link, or a name without a docstring, fails the build.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest_ocrsweep

ROOT = Path(__file__).parents[2]
BESIDE = {name: f"{name.lower()}" for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")}
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)")
# Where else names for users are; those of the package itself are in its `__all__`.
BEYOND = ("pytest_ocrsweep.plugin.checker.Checker", "pytest_ocrsweep.errors")


def pages() -> dict[str, str]:
    """The site's pages by their names there."""
    found = {path.name: (path, path.read_text(encoding="utf-8")) for path in sorted((ROOT / "docs").glob("*.md"))}
    found |= {site: (ROOT / name, (ROOT / name).read_text(encoding="utf-8")) for name, site in BESIDE.items()}
    return {site: _linked(text, path.parent) for site, (path, text) in found.items()} | {"api.md": api()}


def _linked(text: str, folder: Path) -> str:
    """A page with links as they are on the site, where all pages lie in one folder."""

    def link(match: re.Match[str]) -> str:
        image, shown, target, anchor = match.groups()
        path = (folder / target).resolve()
        if path.parent == ROOT / "docs":
            return f"{image}[{shown}]({path.name}{anchor or ''})"
        if path.parent == ROOT and path.name in BESIDE:
            return f"[{BESIDE[path.name] if shown == target else shown}]({BESIDE[path.name]}{anchor or ''})"
        return shown

    return LINK.sub(link, text)


def api() -> str:
    """The reference, from docstrings."""
    homes = {name: f"{home}." for name, home in pytest_ocrsweep._HOMES.items()}
    names = [f"pytest_ocrsweep.{homes.get(name, '')}{name}" for name in pytest_ocrsweep.__all__]
    told = (
        "What a test or a script may import from `pytest_ocrsweep`, what the fixture `ocrsweep` can do, and the errors."
    )
    return "\n\n".join(["# Python", told, *(f"::: {name}" for name in (*names, *BEYOND))]) + "\n"


def navigation() -> Iterator[tuple[str, list[str]]]:
    """Sections and their pages, from the tables of docs/index.md."""
    text = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    for title, section in re.findall(r"^## ([^\n]*)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL):
        named = re.findall(r"^\| \[[^\]]*\]\((?:\.\./)?([^)]+)\)", section, re.MULTILINE)
        yield title, [BESIDE.get(name, name) for name in named]


def settings() -> str:
    sections = [f"{{ {json.dumps(title)} = {json.dumps(names)} }}" for title, names in navigation()]
    nav = ",\n  ".join(['"index.md"', '{ "Read me" = "readme.md" }', *sections, '{ "Python" = "api.md" }'])
    return f"""\
[project]
site_name = "pytest-ocrsweep"
site_description = "What every crop grid and stage of DeepSeek-OCR costs"
docs_dir = "pages"
site_dir = "site"
use_directory_urls = false
nav = [
  {nav},
]

[project.theme]
features = ["content.code.copy", "navigation.sections", "search.highlight", "toc.follow"]

[project.plugins.mkdocstrings.handlers.python]
paths = [{json.dumps(str(ROOT))}]

[project.plugins.mkdocstrings.handlers.python.options]
show_root_heading = true
show_root_full_path = false
show_source = false
members_order = "source"
separate_signature = true
"""


def write(build: Path) -> None:
    """The pages and the settings, below `build`."""
    shutil.rmtree(build / "pages", ignore_errors=True)
    (build / "pages").mkdir(parents=True)
    for name, text in pages().items():
        (build / "pages" / name).write_text(text, encoding="utf-8")
    for picture in (path for kind in ("*.png", "*.svg") for path in (ROOT / "docs").glob(kind)):
        shutil.copy(picture, build / "pages")
    (build / "zensical.toml").write_text(settings(), encoding="utf-8")


def made(build: Path) -> int:
    """Builds the site of what was written there; gives the exit code."""
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean", "-f", str(build / "zensical.toml")]
    return subprocess.run(command, check=False).returncode


def main(folder: str) -> int:
    build = Path(folder).resolve()
    write(build)
    return made(build)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
