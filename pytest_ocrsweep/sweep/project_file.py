"""Which file configures pytest in a folder, as pytest's documentation has it, and the keys that it sets."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from ..errors import ConfigError
from ..files import untrusted
from ..files.text import quoted

Value = str | list[str]  # of a key of ours: a text, or words

SECTIONS = {"setup.cfg": "tool:pytest"}  # of ini files; else "pytest"


def own(folder: Path) -> Path | None:
    """The nearest such file, in the folder or above it."""
    return next(filter(None, map(of_folder, (folder, *folder.absolute().parents))), None)


def of_folder(folder: Path) -> Path | None:
    """The file that configures pytest in this very folder."""
    for name, configures in FILES.items():
        if (folder / name).is_file() and configures(folder / name):
            return folder / name
    return None


def keys(file: Path) -> dict[str, str]:
    """The keys that the file sets for pytest and that hold text. Raises ConfigError for one that cannot be read."""
    return {name: value for name, value in parsed(file.name, read(file)).items() if isinstance(value, str)}


def words(name: str, key: str, value: object) -> list[str]:
    """A key's words: a list of TOML, or a text as a shell splits it. Raises ConfigError."""
    import shlex

    try:
        found = shlex.split(value) if isinstance(value, str) else value
    except ValueError as error:
        raise ConfigError(f"{name}: {key}: {error}") from None
    if isinstance(found, list) and all(isinstance(each, str) for each in found):
        return found
    raise ConfigError(f"{name}: {key}: a list of texts is needed, got {quoted(value)}")


def mentions(file: Path, key: str) -> bool:
    """Whether the key is worth to be looked for: a command needs no file that is about something else."""
    try:
        return key.encode() in untrusted.read(file)
    except OSError:
        return False


def read(file: Path) -> str:
    """Its text. Raises ConfigError."""
    try:
        return untrusted.read(file).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read ({error}): pytest cannot read it either") from None


def parsed(name: str, text: str) -> Mapping[str, object]:
    """All keys for pytest in a text, as a file of this name has them. Raises ConfigError."""
    import tomllib

    from iniconfig import IniConfig, ParseError

    try:
        if name.endswith(".toml"):
            return _of_toml(name, tomllib.loads(text))
        return dict((IniConfig(name, text).sections.get(section_of(name)) or {}).items())
    except (ParseError, ValueError, RecursionError) as error:
        raise ConfigError(f"{name} cannot be read ({quoted(' '.join(str(error).split()))}): mend it") from None


def section_of(name: str) -> str:
    """The section for pytest in an ini file of this name."""
    return SECTIONS.get(name, "pytest")


def _of_toml(name: str, document: Mapping[str, object]) -> Mapping[str, object]:
    table: object = document
    if name == "pyproject.toml":
        table = _in(_in(document, "tool"), "pytest")
        return {**_table(_in(table, "ini_options")), **{k: v for k, v in _table(table).items() if k != "ini_options"}}
    return _table(_in(table, "pytest"))


def _in(table: object, name: str) -> object:
    return _table(table).get(name)


def _table(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


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
