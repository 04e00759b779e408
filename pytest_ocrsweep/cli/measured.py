"""`--measured FILE`: loads that `python -m pytest_ocrsweep.engines --save FILE` timed, as those of a plan's engine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ArgumentError
from ..files.text import quoted
from ..hardware.devices import Device
from ..model.analytic import Model
from ..model.geometry import Workload

if TYPE_CHECKING:
    from ..hardware.host_fit import HostFit, MeasuredLoad
    from ..report.imported.tool_run import ToolRun

MOST_RENDERING = 10  # times: hosts took up to twice as long as one another
MOST_OFF = 4  # times: what no host explains. Hosts that were measured made plans 2.2 times too fast at most
MOST_PROMPT = 200  # tokens beside a page's image: with more, the page is another one


def loads(path: str, model: Model, device: Device) -> list[MeasuredLoad]:
    """Equal loads are one, with the medians of their figures: a host is now faster and now slower.

    Raises ArgumentError or ResultFileError, in one line, for a file that is not of this engine on this device.
    """
    from ..hardware.host_fit import middle
    from ..report.imported import files

    return middle([_load(run, model, device) for run in files.read(Path(path))])


def _load(run: ToolRun, model: Model, device: Device) -> MeasuredLoad:
    from ..hardware.host_fit import MeasuredLoad
    from ..report.imported import own
    from ..report.imported.placed import encoder_graphs_of

    where = run.where
    if run.tool != own.NAME:
        raise ArgumentError(f"{where}: {run.tool} wrote it: give what python -m {own.NAME} --save wrote")
    for what, theirs, ours, option in (
        ("engine", run.engine, model.engine.name, "--engine"),
        ("GPU", run.gpu, device.name, "--device"),
    ):
        if theirs != ours:
            raise ArgumentError(
                f"{where}: its {what} is {quoted(theirs or 'not known')}, and that of the plan {quoted(ours)}: "
                f"choose another {option}, or measure there"
            )
    try:
        graphs = encoder_graphs_of(run)
    except ValueError as error:
        raise ArgumentError(f"{where}: {error}") from None
    ttft, tpot, rate = (run.metrics.get(name) for name in ("ttft_ns", "tpot_ns", "pages_per_s"))
    if ttft is None or rate is None or run.concurrency is None:
        raise ArgumentError(f"{where}: it has no time to first token, rate or concurrency: measure it anew")
    tokens = round(run.output_tokens)
    page = _page(run, model)
    prompt = round(run.input_tokens) - page.image_tokens
    if not 0 <= prompt <= MOST_PROMPT:
        raise ArgumentError(
            f"{where}: its prompts have {run.input_tokens:,.0f} tokens, and the image of a page of {run.page} has "
            f"{page.image_tokens:,} in {model.title}: it is of another model or page"
        )
    return MeasuredLoad(
        Workload(page.grid, prompt, tokens, resolution=page.resolution),
        run.concurrency,
        run.requests,
        model.engine.start.encoder_graphs if graphs is None else graphs,
        ttft.value,
        None if tpot is None else tpot.value,
        rate.value,
        None if (rendered := run.metrics.get("render_ns")) is None else rendered.value,
    )


def _page(run: ToolRun, model: Model) -> Workload:
    """One page, as the engine cuts it. Raises ArgumentError."""
    sides = re.fullmatch(r"([1-9][0-9]{0,5})x([1-9][0-9]{0,5})", run.page or "")
    if sides is None:
        raise ArgumentError(f"{run.where}: its page is {quoted(run.page or 'not known')}: it must be WIDTHxHEIGHT")
    return Workload(model.grid_of(int(sides[1]), int(sides[2]))).cut_by(model.architecture.tiling)


def check(path: str, fit: HostFit) -> None:
    """Raises ArgumentError for a load that is unlike its plan with any host."""
    for load, off in zip(fit.loads, fit.off, strict=True):
        worst = max(max(factor, 1 / factor) for factor in off)
        if worst > MOST_OFF:
            raise ArgumentError(
                f"{path}: the load of {load} is {worst:,.3g} times off what is planned for it with the host that fits "
                "best: it is of another page, engine or GPU, or was disturbed; leave it out, or what you set of "
                "engine.host"
            )
    factor = fit.rendering or 1.0
    if max(factor, 1 / factor) > MOST_RENDERING:
        raise ArgumentError(
            f"{path}: rendering took {factor:,.3g} times what the engine's file says: rendered_ns is of another page, "
            "or in another unit; leave it out"
        )


def document(path: str, fit: HostFit) -> dict[str, object]:
    """The same for JSON: constants, and planned over measured of each load."""
    from ..hardware.host_fit import FITTED

    loads = [
        {**_named(load), "rounds": load.rounds, "planned_over_measured": list(off)}
        for load, off in zip(fit.loads, fit.off, strict=True)
    ]
    host = {name: getattr(fit.host, name) for name in FITTED}
    return {"file": path, "host": host, "rendering": fit.rendering, "spread": fit.host.spread, "loads": loads}


def _named(load: MeasuredLoad) -> dict[str, object]:
    return {
        "grid": str(load.work.grid),
        "concurrency": load.concurrency,
        "new_tokens": load.work.new_tokens,
        "encoder_graphs": load.encoder_graphs,
    }


def lines(path: str, fit: HostFit) -> Iterator[str]:
    """What was fitted, and how far its plans of the same loads are off."""
    from ..hardware.host_fit import FITTED

    off = [abs(each - 1) for load in fit.off for each in load]
    mean, most = 100 * sum(off) / len(off), 100 * max(off)
    names = [name for name in FITTED if getattr(fit.host, name) is not None]
    yield f"host: {', '.join(f'{name} {getattr(fit.host, name):,.0f}' for name in names)}"
    if fit.rendering is not None:
        yield f"rendering took {fit.rendering:.2f} times what the engine's file says"
    rounds = sum(load.rounds for load in fit.loads)
    loads = f"{len(fit.off)} load{'s' * (len(fit.off) != 1)} of {path}"
    if rounds > len(fit.off):
        loads += f", which has {rounds} rounds of them"
    yield f"fitted to {loads}: {mean:.0f} % off on average, {most:.0f} % at most"
