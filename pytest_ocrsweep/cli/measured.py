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

MOST_OFF = 4  # times: what no host explains. Hosts that were measured made plans 2.2 times too fast at most
MOST_PROMPT = 1000  # tokens beside a page's image: with more, the page is another one


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
        run.written.get("encoder_graphs", str(model.engine.start.encoder_graphs)) == str(True),
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
    for number, load in enumerate(fit.off, 1):
        worst = max(max(factor, 1 / factor) for factor in load)
        if worst > MOST_OFF:
            raise ArgumentError(
                f"{path}: load {number} is {worst:,.3g} times off what is planned for it with the host "
                "that fits best: it is of another page, engine or GPU, or was disturbed; leave it out"
            )


def lines(path: str, fit: HostFit) -> Iterator[str]:
    """What was fitted, and how far its plans of the same loads are off."""
    from ..hardware.host_fit import FITTED

    off = [abs(each - 1) for load in fit.off for each in load]
    mean, most = 100 * sum(off) / len(off), 100 * max(off)
    names = [name for name in FITTED if getattr(fit.host, name) is not None]
    yield f"host: {', '.join(f'{name} {getattr(fit.host, name):,.0f}' for name in names)}"
    if fit.rendering is not None:
        yield f"rendering took {fit.rendering:.2f} times what the engine's file says"
    loads = f"{len(fit.off)} load{'s' * (len(fit.off) != 1)} of {path}"
    yield f"fitted to {loads}: {mean:.0f} % off on average, {most:.0f} % at most"
