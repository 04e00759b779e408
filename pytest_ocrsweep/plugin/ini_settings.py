"""Settings that the ini file makes for every run of a project: `ocrsweep_set`."""

from __future__ import annotations

import pytest

from .usage import one_line

KEY = "ocrsweep_set"


def value(config: pytest.Config, key: str) -> object:
    """The value of one of our ini keys. Raises UsageError, in one line, for one of another type."""
    try:
        found: object = config.getini(key)
    except (pytest.UsageError, TypeError, ValueError) as error:  # which of them depends on pytest's version
        raise pytest.UsageError(f"{where(config, key)}: {one_line(error)}") from None
    if not isinstance(found, list):
        return found
    for item in found:  # pytest passes on what a list of TOML holds
        if not isinstance(item, str):
            raise pytest.UsageError(f"{where(config, key)}: a list of texts is needed, got {one_line(repr(item))}")
    return found


def overrides(config: pytest.Config) -> tuple[str, ...]:
    """The overrides of `ocrsweep_set`, in their order. Raises UsageError."""
    found = value(config, KEY)
    return tuple(found) if isinstance(found, list) else ()


def where(config: pytest.Config, key: str = KEY) -> str:
    """A key with the file or option that sets it."""
    given = [text.partition("=")[0] for text in config.getoption("override_ini", None) or ()]
    if key in given or config.inipath is None:
        return f"-o {key}" if key in given else key
    return f"{one_line(config.inipath.name)}: {key}"
