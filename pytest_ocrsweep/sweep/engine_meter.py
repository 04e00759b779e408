"""From a point to what an engine takes there, in an interpreter of its own or as a running server.

A prefill is the time to first token, a decode the time per token after it times `new_tokens`, both of each page of a
closed loop of the workload's batch, by the client's wall clock. Vision is part of a prefill and has no time of its own.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ..baselines.machine import SLOW_HOST, Machine, fastest_host
from ..baselines.measurement import Environment
from ..baselines.recorded_time import ENGINE
from ..baselines.sampling import Samples
from ..engines.about import StartOptions
from ..errors import EngineError, EngineLost
from ..model.geometry import Workload
from ..model.kernels import HALF
from ..model.stages import STAGES, Latency
from .meter import Meter
from .timed_point import Sampled, TimedPoint

if TYPE_CHECKING:
    from ..baselines.recorded_time import RecordedTime
    from ..engines.about import About, TimedEngine
    from ..engines.served import Load, Request, ServedLoad
    from .explain import Measured

PAGES = 8  # of a round, and at least twice the concurrency
PATIENCE = 3  # loads that may be served for one round, until the host is as fast before and after as it has been
STARTS = ("encoder_graphs", "enforce_eager")  # of engine.start, which make another engine of it
DTYPES = {"bf16": "bfloat16", "fp16": "float16"}
KEY = "OPENAI_API_KEY"  # a variable with a server's key


@dataclass
class EngineMeter(Meter):
    """An engine, started at the first point. Rounds of a prefill and of a decode of one page are one load."""

    count: bool = True  # an engine's FLOPs are not counted on it: no point is run again for them
    _loads: dict[Workload, tuple[ServedLoad, set[str]]] = field(default_factory=dict, init=False, repr=False)
    _host_ns: list[int] = field(default_factory=list, init=False, repr=False)  # all readings of a fixed piece of work

    @cached_property
    def _running(self) -> tuple[TimedEngine, About]:
        """The engine, and what it says of itself.

        Raises EngineError, and all that follow raise EngineLost with the same line: nothing starts it again, and the
        lock is let go.
        """
        if self.lost:
            raise EngineLost(self.lost)
        self.held.enter_context(self.lock())
        try:
            engine = self._opened()
            self.held.callback(engine.close)
            about = engine.about()
            self._same_model(about)
            self._host_ns += about.host_ns
        except BaseException as error:
            self.lost = str(error) if isinstance(error, EngineError) else f"the engine did not start ({error!r})"
            self.held.close()
            raise
        return engine, about

    def _opened(self) -> TimedEngine:
        engine = self.settings.engine
        if engine.url:
            from ..engines.http import HttpEngine

            return HttpEngine(engine.url, key=os.environ.get(KEY))
        from ..engines.process import EngineProcess, Runner

        assert engine.python is not None  # else nothing is measured
        process = EngineProcess(Runner(engine.python))
        process.start(self._options())
        return process

    def _same_model(self, about: About) -> None:
        """Raises EngineLost for an engine that says that it holds another model's weights."""
        model = self.settings.model
        page = Workload(self.model.architecture.tiling.smallest)
        counted = max(self.model.ledger(stage, page).weight_bytes for stage in STAGES)
        unused = model.clip.unused_patch_embedding * HALF if model.clip else 0
        wide = (self.settings.engine.start.dtype or "") == "float32"
        expected = {each * (1 + wide) for each in (counted, counted + unused)}
        if about.weight_bytes is None or about.weight_bytes in expected:
            return
        what = f"the engine holds {about.weight_bytes:,} bytes of weights, and {model.name} has {min(expected):,};"
        raise EngineLost(what, "serve this model, or choose the one that it serves: model=NAME")

    def _options(self) -> StartOptions:
        engine, model = self.settings.engine, self.settings.model
        folder = self.checkpoint or engine.folder
        if folder is None:
            what = "engine.folder: no folder of a model is given for the engine to serve;"
            raise EngineLost(what, "set engine.folder=DIR, or --ocrsweep-checkpoint DIR for real weights")
        return StartOptions(
            Path(folder),
            weights="real" if self.checkpoint else engine.start.weights,
            dtype=engine.start.dtype or DTYPES[model.dtype],
            max_num_seqs=engine.host.most_pages,
            max_model_len=engine.most_positions,
            max_num_batched_tokens=engine.most_step_tokens,
            max_crops=engine.most_crops,
            encoder_graphs=engine.start.encoder_graphs,
            enforce_eager=engine.start.enforce_eager,
            gpu_memory_utilization=engine.host.memory_percent / 100,
            kv_cache_memory_bytes=engine.start.kv_cache_bytes,
        )

    @property
    def about(self) -> About:
        """What the engine says of itself. Raises EngineLost."""
        return self._running[1]

    @cached_property
    def gpu(self) -> str:
        """The engine's GPU; of a server, which does not say, the device of the settings."""
        if self.settings.engine.url:
            return self.settings.device.name
        return self.about.gpu or "cpu"

    def environment(self) -> Environment:
        """What the times were taken on; the engine and its version stand where a library's version does."""
        engine = f"{self.about.engine} {self.about.version or '(version unknown)'}"
        start = self.settings.engine.start
        return Environment(
            host=platform.node(),
            gpu=self.gpu,
            torch=self.about.versions.get("torch"),
            transformers=engine,
            dtype=start.dtype or self.settings.model.dtype,
            weights="real" if self.checkpoint else start.weights,
            engine_start=", ".join(f"{name}=true" for name in STARTS if getattr(start, name)) or None,
        )

    def _take(self, point: TimedPoint, stored: RecordedTime | None, *, count: bool, energy: bool = False) -> Sampled:
        """A round: what each page of a load took. Raises EngineError."""
        served = self._served(point)
        whole = _whole(point.stage, point.work)
        ns = tuple(round(time) for request in served.requests if (time := whole(request)) is not None)
        if not ns:
            what = f"{point}: the engine gave all tokens of a page at once;"
            raise EngineError(what, "ask for more new tokens, or for a server that streams")
        early, late = served.host_ns or (None, None)
        samples = self.reviewed(Samples(ns, f"{len(ns)} pages", Machine(host_ns=early), Machine(host_ns=late)))
        return Sampled(samples, None, None, ENGINE, None, None, None, None)

    def reviewed(self, taken: Samples) -> Samples:
        """A round beside the host's fastest speed, which a later load may have shown."""
        fastest = fastest_host(self._host_ns)
        before, after = (replace(each, fastest_host_ns=fastest) for each in (taken.before, taken.after))
        return replace(taken, before=before, after=after)

    def _served(self, point: TimedPoint) -> ServedLoad:
        """A load that this stage has not had yet."""
        served, stages = self._loads.get(point.work, (None, set()))
        if served is None or point.stage in stages:
            served, stages = self._run(point.work), set()
        self._loads[point.work] = served, {*stages, point.stage}
        return served

    def _run(self, work: Workload) -> ServedLoad:
        """A load; again while the host was slow, which a shared one is for seconds."""
        for _ in range(PATIENCE):
            served = self._once(work)
            self._host_ns += served.host_ns
            if max(served.host_ns, default=0) <= SLOW_HOST * (fastest_host(self._host_ns) or 0):
                break
        return served

    def _once(self, work: Workload) -> ServedLoad:
        try:
            served = self._running[0].run(self._load_of(work))
        except EngineLost as error:
            self.lost = str(error)
            raise
        read = {request.prompt_tokens for request in served.requests}
        if self.settings.engine.url is None and read != {work.context_tokens}:
            found = ", ".join(f"{tokens:,}" for tokens in sorted(read))
            what = f"{work.grid}: the engine reads {found} tokens for a page where {work.context_tokens:,} are counted;"
            raise EngineError(what, "serve the model of these settings, at the same resolution and crops")
        return served

    def _load_of(self, work: Workload) -> Load:
        """Pages that are cut into the workload's grid, as many at once as its batch."""
        from ..engines.served import Load

        width, height = page_of(work)
        is_server = bool(self.settings.engine.url)
        return Load(
            width,
            height,
            pages=max(PAGES, 2 * work.batch),
            concurrency=work.batch,
            new_tokens=work.new_tokens,
            prompt="Free OCR." if is_server else tuple(10 + i % 100 for i in range(work.prompt_tokens)),
            image_tokens=work.image_tokens,
            slowdown_percent=self.slowdown.percent,
        )

    def profiled(self, point: TimedPoint, stored: RecordedTime | None, measured: Measured) -> Measured:
        """An engine's lines are not measured."""
        return measured


def _whole(stage: str, work: Workload) -> Callable[[Request], float | None]:
    """A page's time for the whole stage, ns."""
    if STAGES[stage].latency is Latency.TTFT:
        return lambda request: float(request.ttft_ns)
    return lambda request: None if request.tpot_ns is None else request.tpot_ns * work.new_tokens


def page_of(work: Workload) -> tuple[int, int]:
    """Width and height of a page that is cut into the workload's grid."""
    side = work.sides.crop_side or work.sides.base_side
    if not work.grid.crops:
        return side, side
    width, height = side * work.grid.columns, side * work.grid.rows
    assert work.sides.grid_of(width, height, work.grid.crops) == work.grid
    return width, height
