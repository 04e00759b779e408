"""The arguments `grid` and `attention` of tests: values from the sweep, unless a test has its own."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pytest


def wanted(metafunc: pytest.Metafunc, known: Collection[str]) -> list[str]:
    """Those of the `known` that the test takes and does not parametrize itself."""
    own: set[str] = set()
    for mark in metafunc.definition.iter_markers("parametrize"):
        names = mark.args[0] if mark.args else mark.kwargs["argnames"]
        own.update(name.strip() for name in (names.split(",") if isinstance(names, str) else names))
    return [name for name in known if name in metafunc.fixturenames and name not in own]
