"""Options and ini keys of ours that are misspelt: pytest refuses the one without a guess, and ignores the other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import pytest

from .options import INI, OPTIONS

KEY = re.compile(r"""^\s*["']?(ocrsweep_\w*)["']?\s*[=:]""", re.MULTILINE)


def option(parser: pytest.Parser, args: Sequence[str]) -> str | None:
    """What is wrong with the first one that no plugin and no conftest.py knows."""
    _, unknown = parser.parse_known_and_unknown_args(list(args))
    return _problem("option", (word.partition("=")[0] for word in unknown if word.startswith("--ocrsweep")), OPTIONS)


def key(config: pytest.Config) -> str | None:
    """What is wrong with the first one in the configuration file or after `-o`."""
    text = config.inipath.read_text("utf-8", errors="replace") if config.inipath else ""
    given = "\n".join(config.getoption("override_ini", None) or ())
    return _problem("ini key", (*KEY.findall(text), *KEY.findall(given)), INI)


def _problem(what: str, names: Iterable[str], known: Iterable[str]) -> str | None:
    from ..files.near_miss import did_you_mean
    from ..files.text import printable

    known = list(known)
    wrong = next((name for name in names if name not in known), None)
    if wrong is None:
        return None
    meant = did_you_mean(wrong, known) or f"; ours are {', '.join(known)}"
    return f"no {what} {printable(wrong)}{meant}"
