"""Points on their way from a worker of pytest-xdist to its controller: on a report as values, sent as JSON."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ..baselines.json_layout import Json


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable(report: object) -> Generator[None, Json | None, Json | None]:
    """A worker sends plain values."""
    data = yield
    if data and getattr(report, "ocrsweep", None):
        from ..baselines.result_json import HOST, POINT

        data["ocrsweep"] = [POINT.write(point) for point in data["ocrsweep"]]
        data["ocrsweep_environment"] = (on := data["ocrsweep_environment"]) and HOST.write(on)
    return data


@pytest.hookimpl(wrapper=True)
def pytest_report_from_serializable() -> Generator[None, Any, Any]:
    """The controller has values again."""
    report = yield
    if getattr(report, "ocrsweep", None):
        from ..baselines.result_json import HOST, POINT

        report.ocrsweep = [POINT.read(point) for point in report.ocrsweep]
        report.ocrsweep_environment = (on := report.ocrsweep_environment) and HOST.read(on)
    return report
