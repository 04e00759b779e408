"""The pages of a sweep on other engines and devices: floors and estimates, for the switches of the page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from ..baselines.metrics import analytic
from ..baselines.result import EstimateResult, FloorResult, PointResult
from ..baselines.sweep_report import Report
from ..errors import OcrsweepError
from ..hardware.devices import Device
from ..model.analytic import Model
from ..model.engine import REFERENCE
from ..model.ledger import Ledger
from .page_answer import USUAL, PageAnswer, answer

MOST = 200  # points of a sweep: of a larger one the page has its own engine and device alone


def engine_of(report: Report) -> str:
    """The engine that a report is of, by its model's name."""
    return next((name for name in _engines() if report.model.endswith(f"/{name}")), REFERENCE.name)


def elsewhere(report: Report) -> dict[tuple[str, str], tuple[PageAnswer, ...]]:
    """The pages by engine and device, without those of the report; empty for a model that is not the catalogue's."""
    from ..sweep.config import devices

    models = _models(report) if 0 < len(report.points) <= MOST else {}
    here = engine_of(report), next((point.floor.device for point in report.points if point.floor), None)
    found = {}
    for engine, model in models.items():
        ledgers = list(_ledgers(report, model))
        for device in devices().values():
            if (engine, device.name) != here and ledgers:
                points = tuple(_point(ledger, device) for ledger in ledgers)
                found[engine, device.name] = answer(replace(report, points=points)).pages
    return found


def _engines() -> list[str]:
    from ..sweep.search_path import choices

    return sorted(choices("engine"))


def _models(report: Report) -> dict[str, Model]:
    """The report's model on each engine, if it counts what the report has."""
    from ..sweep.config import compose

    here = engine_of(report)
    name = report.model.removesuffix(f"/{here}")
    try:
        settings = {engine: compose([f"model={name}", f"engine={engine}"]) for engine in _engines()}
        models = {engine: Model(each.model, engine=each.engine) for engine, each in settings.items()}
        point = report.points[0]
        ledger = models[here].ledger(point.stage, report.workload.on(point.grid), point.attention)
    except (OcrsweepError, KeyError, ValueError):
        return {}
    return models if analytic(ledger).numbers == point.analytic.numbers else {}


def _ledgers(report: Report, model: Model) -> Iterator[Ledger]:
    """The pages that the engine takes, with the attention that people run."""
    for point in report.points:
        if point.attention == USUAL[1]:
            with suppress(OcrsweepError):  # a page that the engine does not take
                yield model.ledger(point.stage, report.workload.on(point.grid), point.attention)


def _point(ledger: Ledger, device: Device) -> PointResult:
    """Unmeasured."""
    of, estimate = FloorResult.of(ledger, device), EstimateResult.of(ledger, device)
    return PointResult.of(ledger.stage, ledger.work, ledger.attention, analytic(ledger), of, estimate=estimate)
