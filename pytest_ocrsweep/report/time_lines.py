"""Where the time of each profiled point goes: the lines that the page sums by component, by kind or one by one."""

from __future__ import annotations

from ..baselines.json_layout import Json
from ..baselines.point_profile import component_of
from ..baselines.result import PointResult
from ..baselines.sweep_report import Report
from ..errors import OcrsweepError
from ..hardware.calibration import LIMITS
from ..model.analytic import Model

UNKNOWN = "unknown"  # the kind of a line of a model that is not in the configuration


def time_lines(report: Report) -> Json:
    """`lines`: path, component and kind of each; `points`: by a point's place, its gap and the ns of its lines.

    A path may be of another kind in another stage: the scores of an eager prefill are products, a decode's attention.
    """
    profiles = {at: p.vendor.profile for at, p in enumerate(report.points) if p.vendor and p.vendor.profile}
    model = _model(report.model) if profiles else None
    places: dict[tuple[str, str], int] = {}
    points: dict[int, Json] = {}
    for at, profile in profiles.items():
        kinds = _kinds(model, report, report.points[at]) if model else {}
        lines = [((path, kinds.get(path, UNKNOWN)), ns) for path, ns in profile.times.items()]
        times = [[places.setdefault(line, len(places)), ns] for line, ns in lines]
        points[at] = {"gap_ns": profile.gap_ns, "times": times}
    return {"lines": [[path, component_of(path), kind] for path, kind in places], "points": points}


def _model(name: str) -> Model | None:
    from ..sweep.config import compose

    try:
        return Model(compose([f"model={name}"]).model)
    except OcrsweepError:
        return None


def _kinds(model: Model, report: Report, point: PointResult) -> dict[str, str]:
    """The kind of each line of the point's stage: the term of an estimate that its time belongs to."""
    resolution, crops = report.workload.resolution, bool(point.grid.crops)
    try:
        program = model.program(point.stage, resolution, crops, point.attention)
    except (KeyError, ValueError):  # a stage, attention or mode that only another version knows
        return {}
    return {line.path: LIMITS[line.pattern].term for line in program.sequence if line.pattern in LIMITS}
