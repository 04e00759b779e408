"""Points on their way from a test to the controller: on its report, from a worker of pytest-xdist as JSON."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from .compat import summarise, uses

if TYPE_CHECKING:
    from ..baselines.json_layout import Json
    from ..baselines.measurement import Environment
    from ..baselines.own import OwnResult
    from ..baselines.result import PointResult
    from .benchmark import Entry

ITEM = pytest.StashKey[pytest.Item]()  # the test that runs, if it checks points
POINTS: pytest.StashKey[list[PointResult]] = pytest.StashKey()
OWN: pytest.StashKey[list[OwnResult]] = pytest.StashKey()
ENVIRONMENT: pytest.StashKey[Environment | None] = pytest.StashKey()
SHORT = "ocrsweep_short"  # an attribute of a failure: what it comes to, for one line
BENCHMARKS: pytest.StashKey[list[Entry]] = pytest.StashKey()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if uses(item, "ocrsweep"):
        item.config.stash[ITEM] = item
        item.stash[POINTS], item.stash[OWN] = [], []  # not those of an earlier try, where a plugin makes several
        item.stash[BENCHMARKS] = []
        item.stash[ENVIRONMENT] = None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Points travel on the report: it reaches the controller even from a worker that dies later."""
    report = yield
    if call.excinfo and (short := getattr(call.excinfo.value, SHORT, None)):
        summarise(report, short)
    if report.when != "teardown" and uses(item, "ocrsweep"):
        # pytest sends such extras on, from a worker as JSON
        report.ocrsweep = item.stash.get(POINTS, [])  # type: ignore[attr-defined]
        report.ocrsweep_own = item.stash.get(OWN, [])  # type: ignore[attr-defined]
        report.ocrsweep_environment = item.stash.get(ENVIRONMENT, None)  # type: ignore[attr-defined]
        report.ocrsweep_benchmarks = item.stash.get(BENCHMARKS, [])  # type: ignore[attr-defined]
    return report


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable(report: object) -> Generator[None, Json | None, Json | None]:
    """A worker sends plain values."""
    data = yield
    if data and (getattr(report, "ocrsweep", None) or getattr(report, "ocrsweep_own", None)):
        from ..baselines.result_json import HOST, OWN_RESULT, POINT

        data["ocrsweep_own"] = [OWN_RESULT.write(each) for each in data["ocrsweep_own"]]
        data["ocrsweep"] = [POINT.write(point) for point in data["ocrsweep"]]
        data["ocrsweep_environment"] = (on := data["ocrsweep_environment"]) and HOST.write(on)
    return data


@pytest.hookimpl(wrapper=True)
def pytest_report_from_serializable() -> Generator[None, Any, Any]:
    """The controller has values again."""
    report = yield
    if getattr(report, "ocrsweep", None) or getattr(report, "ocrsweep_own", None):
        from ..baselines.result_json import HOST, OWN_RESULT, POINT

        report.ocrsweep_own = [OWN_RESULT.read(each) for each in report.ocrsweep_own]
        report.ocrsweep = [POINT.read(point) for point in report.ocrsweep]
        report.ocrsweep_environment = (on := report.ocrsweep_environment) and HOST.read(on)
    return report
