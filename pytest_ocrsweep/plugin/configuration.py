"""Which file configures pytest in a folder when no option names one, as pytest's documentation has it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path


def own(folder: Path) -> Path | None:
    """The nearest such file, in the folder or above it."""
    for each in (folder, *folder.parents):
        for name, configures in FILES.items():
            if (each / name).is_file() and configures(each / name):
                return each / name
    return None


def _always(file: Path) -> bool:
    return True


def _has_table(file: Path) -> bool:
    import tomllib

    try:
        return "pytest" in tomllib.loads(file.read_text("utf-8")).get("tool", {})
    except (OSError, ValueError):
        return True  # pytest refuses it


def _has_section(section: str) -> Callable[[Path], bool]:
    def has(file: Path) -> bool:
        return bool(re.search(rf"^\[{section}\]".encode(), file.read_bytes(), re.MULTILINE))

    return has


FILES: dict[str, Callable[[Path], bool]] = {
    **dict.fromkeys(("pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini"), _always),
    "pyproject.toml": _has_table,
    "tox.ini": _has_section("pytest"),
    "setup.cfg": _has_section("tool:pytest"),
}
