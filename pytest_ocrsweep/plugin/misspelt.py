"""Options and ini keys of ours that are misspelt: pytest refuses the one without a guess, and ignores the other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import pytest

from ..files.near_miss import nearest
from ..files.text import printable
from ..model.geometry import LEAST
from ..sweep.search_path import GROUPS
from .options import INI, OPTIONS

KEY = re.compile(r"""^\s*["']?(ocrsweep_\w*)["']?\s*[=:]""", re.MULTILINE)
SETTINGS = {  # what `ocrsweep` has plain options for, and pytest has not
    **{group: group for group in GROUPS if group != "workload"},
    **{name.replace("_", "-"): f"workload.{name}" for name in (*LEAST, "resolution")},
}


def option(parser: pytest.Parser, args: Sequence[str]) -> str | None:
    """What is wrong with the first one that no plugin and no conftest.py knows."""
    _, unknown = parser.parse_known_and_unknown_args(list(args))
    given = (word.partition("=")[0] for word in unknown if word.startswith("--ocrsweep"))
    return _problem("option", given, OPTIONS, "--ocrsweep-")


def key(config: pytest.Config) -> str | None:
    """What is wrong with the first one in the configuration file or after `-o`."""
    text = config.inipath.read_text("utf-8", errors="replace") if config.inipath else ""
    given = "\n".join(config.getoption("override_ini", None) or ())
    return _problem("ini key", (*KEY.findall(text), *KEY.findall(given)), INI, "ocrsweep_")


def _problem(what: str, names: Iterable[str], known: Iterable[str], prefix: str) -> str | None:
    """Words are compared without the prefix, in which all are alike; a setting is answered with how it is given."""
    by_word = {name.removeprefix(prefix): name for name in known}
    wrong = next((name for name in names if name.removeprefix(prefix) not in by_word), None)
    if wrong is None:
        return None
    near = nearest(wrong.removeprefix(prefix), [*SETTINGS, *by_word])
    meant = f"; ours are {', '.join(by_word.values())}"
    if near in SETTINGS:
        meant = f"; did you mean '{prefix}set{' = ' if prefix.endswith('_') else ' '}{SETTINGS[near]}=…'?"
    elif near is not None:
        meant = f"; did you mean {by_word[near]!r}?"
    return f"no {what} {printable(wrong)}{meant}"
