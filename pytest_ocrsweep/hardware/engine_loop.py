"""Pages through an engine, step by step as its scheduler serves them: when each got its tokens, and what took the time.

The loop is closed: `concurrency` pages are in flight, and another is sent when the last token of one has come. A step
admits waiting pages, as many as its tokens allow, and decodes one token of each page that was admitted before; so pages
that came together stay together. Host and device have a clock each: the host schedules a step while the device runs the
one before, but it waits for the device at each vision tower, whose code asks for values.

As vLLM 0.26 (v1/core/sched/scheduler.py): a step has `most_step_tokens` tokens at most, and pages that are encoded but
whose step has not been read take as many of them from the next step's pages, for both lie in the encoder's cache.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from math import inf

from ..model.engine import Engine
from .engine_times import EngineTimes
from .served_load import PARTS, Answer, Served

MB = 1e6  # bytes
IN_FLIGHT = 2  # steps that the host has launched before it reads the results of the first


@dataclass(slots=True)
class _Group:
    """Pages of one kind that got their first token in the same step."""

    kind: int
    sent_ns: list[float]
    left: int  # tokens that no step has made yet
    first_ns: float = 0.0


@dataclass(slots=True)
class _Step:
    """A step whose results the host has not read yet."""

    end_ns: float
    encoded: float  # tokens that it puts into the encoder's cache
    first: list[_Group]
    last: list[_Group]


class Loop:
    """`pages` pages of a mix through an engine, `concurrency` in flight; `weights` say how many of each kind."""

    def __init__(
        self, engine: Engine, times: EngineTimes, weights: Sequence[float], concurrency: int, pages: int
    ) -> None:
        self._host, self._times = engine.host, times
        admission_ns, upload_ns = engine.host.admission_ns or 0.0, (engine.host.upload_ns_per_mb or 0.0) / MB
        self._admission_ns = [admission_ns + upload_ns * pixels for pixels in times.pixel_bytes]
        self._tokens: float = engine.most_step_tokens or inf
        self._kinds = _kinds(weights)
        self._unsent = pages
        self._waiting: deque[tuple[int, float]] = deque()  # kind and time of each page
        self._cut: tuple[int, float, float] | None = None  # a page whose prompt did not fit whole, and its tokens left
        self._groups: list[_Group] = []
        self._running = Counter[int]()  # pages of all groups, by kind
        self._captured = engine.captured_batches[-1] if engine.captured_batches else inf
        self._launched: deque[_Step] = deque()
        self._answers: list[Answer] = []
        self._host_ns = self._device_ns = self._flops = 0.0
        self._busy = dict.fromkeys(PARTS, 0.0)
        self._send(concurrency)

    def run(self) -> Served:
        while True:
            self._skip()
            step = self._step()
            if step is not None:
                self._launched.append(step)
                if len(self._launched) < IN_FLIGHT:
                    continue
            if not self._launched:
                return Served(tuple(self._answers), self._host_ns, self._busy, self._flops)
            self._read(self._launched.popleft())

    def _send(self, pages: int) -> None:
        for _ in range(min(pages, self._unsent)):
            self._unsent -= 1
            self._waiting.append((next(self._kinds), self._host_ns))

    def _read(self, step: _Step) -> None:
        """The host waits for a step's end and hands on its tokens; the client sends a page for each that is done."""
        self._host_ns = max(self._host_ns, step.end_ns)
        for group in step.first:
            group.first_ns = self._host_ns
        for group in step.last:
            new_tokens = self._times.works[group.kind].new_tokens
            for sent_ns, pages in Counter(group.sent_ns).items():
                self._answers.append(Answer(pages, sent_ns, group.first_ns, self._host_ns, new_tokens))
            self._send(len(group.sent_ns))

    def _step(self) -> _Step | None:
        """Launches the next step; None if there is nothing to do until a result is read."""
        running = self._running.total()
        admitted, first, prompts = self._admit(self._tokens - running)
        if not running and not prompts:
            return None
        host = self._host
        self._host_ns += (host.step_ns or 0.0) + sum(self._admission_ns[kind] for kind in admitted)
        if admitted:
            self._look(admitted)
        if prompts:
            self._prefill(prompts, eager=running + sum(prompts.values()) > self._captured)
        else:
            self._use("decode", *self._decode_ns())
        last = self._advance(1)
        for group in first:
            if group.left:
                self._groups.append(group)
                self._running[group.kind] += len(group.sent_ns)
        encoded = float(sum(self._times.image_tokens[kind] for kind in admitted))
        return _Step(self._device_ns, encoded, first, last + [group for group in first if not group.left])

    def _advance(self, steps: int) -> list[_Group]:
        """So many tokens more for each page that runs; the groups that have all their tokens now."""
        for group in self._groups:
            group.left -= steps
        done = [group for group in self._groups if group.left == 0]
        if done:
            self._groups = [group for group in self._groups if group.left]
            for group in done:
                self._running[group.kind] -= len(group.sent_ns)
            self._running = +self._running
        return done

    def _admit(self, free: float) -> tuple[list[int], list[_Group], dict[int, float]]:
        """Kinds of pages whose views are encoded in the next step, the groups that it completes, and prompt tokens."""
        encoder = self._tokens - sum(step.encoded for step in self._launched)
        admitted, whole, prompts = list[int](), list[tuple[int, float]](), dict[int, float]()
        while free > 0 and (self._cut or self._waiting):
            if self._cut:
                kind, sent_ns, left = self._cut
                self._cut = None
            else:
                kind, sent_ns = self._waiting[0]
                image_tokens = self._times.image_tokens[kind]
                if image_tokens > encoder and (admitted or self._launched):
                    break
                self._waiting.popleft()
                encoder -= image_tokens
                admitted.append(kind)
                left = float(self._times.context_tokens[kind])
            fits = min(left, free)
            prompts[kind] = prompts.get(kind, 0.0) + fits
            free -= fits
            if fits < left:
                self._cut = (kind, sent_ns, left - fits)
            else:
                whole.append((kind, sent_ns))
        kinds = dict.fromkeys(kind for kind, _ in whole)
        groups = [
            _Group(kind, [sent for of, sent in whole if of == kind], self._times.works[kind].new_tokens - 1)
            for kind in kinds
        ]
        return admitted, groups, prompts

    def _look(self, kinds: Sequence[int]) -> None:
        """Through the vision tower, for which host and device wait for each other."""
        self._device_ns = self._host_ns = max(self._host_ns, self._device_ns)
        for one in self._times.vision(kinds):
            late = max(0.0, one.launches * (self._host.launch_ns or 0.0) - one.time_ns)
            self._use("vision", one.time_ns, one.tensor_flops)
            self._use("launches", late, 0.0)
        self._host_ns = self._device_ns

    def _prefill(self, prompts: dict[int, float], *, eager: bool) -> None:
        """Prompts and, in the same kernels, a token of each page that runs: its own is little but its attention.

        With more tokens than a captured graph holds, the host launches kernel by kernel, while the device runs them.
        """
        pages = {kind: tokens / self._times.context_tokens[kind] for kind, tokens in prompts.items()}
        together = max(1, round(sum(pages.values())))
        parts = [self._times.prefill(kind, together).times(part) for kind, part in pages.items()]
        prefill_ns, decode_ns, flops = sum(part.time_ns for part in parts), 0.0, 0.0
        if self._running:
            alone_ns, flops = self._decode_ns()
            decode_ns = max(alone_ns - prefill_ns, self._shared("attention_ns"))
        began_ns = max(self._device_ns, self._host_ns)
        self._use("prefill", prefill_ns, sum(part.tensor_flops for part in parts))
        self._use("decode", decode_ns, flops)
        if eager:
            self._host_ns += self._host.eager_step_ns or 0.0
            self._device_ns = max(self._device_ns, began_ns + (self._host.eager_step_ns or 0.0))

    def _decode_ns(self) -> tuple[float, float]:
        return self._shared("time_ns"), self._shared("tensor_flops")

    def _shared(self, name: str) -> float:
        """Of a decode step: each kind's part of a step of as many pages of that kind as there are in all."""
        total = self._running.total()
        parts = [n / total * float(getattr(self._times.decode(kind, total), name)) for kind, n in self._running.items()]
        return sum(parts)

    def _use(self, part: str, time_ns: float, tensor_flops: float) -> None:
        self._device_ns = max(self._device_ns, self._host_ns) + time_ns
        self._count(part, time_ns, tensor_flops)

    def _count(self, part: str, time_ns: float, tensor_flops: float) -> None:
        self._busy[part] += time_ns
        self._flops += tensor_flops

    def _skip(self) -> None:
        """Jumps over decode steps that are all alike, with nothing to admit nor to hand out, but for the last two."""
        if self._waiting or self._cut or not self._groups or len(self._launched) != 1:
            return
        steps, pending = min(group.left for group in self._groups) - 2, self._launched[0]
        if steps <= 0 or pending.first or pending.last:
            return
        decode_ns, flops = self._decode_ns()
        took_ns = steps * max(decode_ns, self._host.step_ns or 0.0)
        self._advance(steps)
        self._host_ns, self._device_ns = self._host_ns + took_ns, self._device_ns + took_ns
        pending.end_ns += took_ns
        self._count("decode", steps * decode_ns, steps * flops)


def _kinds(weights: Sequence[float]) -> Iterator[int]:
    """Kinds of pages without end, each as often as its weight says, and as evenly as it can be."""
    whole, sent = sum(weights), [0] * len(weights)
    for page in count(1):
        kind = max(range(len(weights)), key=lambda i: page * weights[i] / whole - sent[i])
        sent[kind] += 1
        yield kind
