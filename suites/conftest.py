"""The suites' own marker, so that they run without a warning in a project whose configuration does not name it."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: one of many more sizes of a test; the sizes without this mark are few")
