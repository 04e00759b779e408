"""The suites' own marker, for projects that have these files without this repository's settings."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: a long case; leave out with -m 'not slow'")
