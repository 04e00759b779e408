"""The user's own code in a report: its table, and what a run says of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from ..baselines.own import OwnResult
from ..baselines.verdict import Verdict
from ..sweep.results import Results
from .table import aligned

HEADER = ("own code", "at", "ms", "change %", "margin %", "GFLOP", "than the reference %", "clock", "verdict")
WORDS = (1, 2, 8, 9)  # columns, from 1, that are words: to the left


def cells(results: Sequence[OwnResult]) -> list[list[str]]:
    """A row for each; a dash where there is no number."""
    return [_row(result) for result in results]


def _row(result: OwnResult) -> list[str]:
    measured, count = result.measured, result.counted
    than = None
    if count.tensor_flops is not None and count.analytic_flops:
        than = count.tensor_flops / count.analytic_flops - 1
    gate = measured.gate if measured else None
    return [
        result.name,
        result.key.point,
        f"{measured.device_ns.median / 1e6:,.3f}" if measured else "-",
        _percent(gate.change if gate else None, "+.1f"),
        _percent(gate.margin if gate else None, ".1f"),
        "-" if count.tensor_flops is None else f"{count.tensor_flops / 1e9:,.3f}",
        _percent(than, "+.4g"),
        (measured and measured.clock) or "-",
        result.verdict,
    ]


def _percent(ratio: float | None, form: str) -> str:
    return "-" if ratio is None else f"{100 * ratio:{form}}"


def counts(results: Sequence[OwnResult]) -> str:
    """How much has which verdict, the worst first: "1 FAIL, 2 PASS"."""
    found = Counter(result.verdict for result in results)
    return ", ".join(f"{found[each]} {each}" for each in sorted(found, key=lambda verdict: (verdict.rank, verdict)))


def table(results: Sequence[OwnResult]) -> list[str]:
    """For a terminal; nothing without results."""
    return aligned([HEADER, *cells(results)], left=[each - 1 for each in WORDS]) if results else []


def notes(results: Sequence[OwnResult]) -> Iterator[str]:
    """What was counted on code that does other work than the reference model, or could not be counted."""
    for result in results:
        count = result.counted
        if result.measured and (count.tensor_flops is None or (count.analytic_flops and not count.agrees)):
            yield f"{result}: {count}"


def about(results: Results) -> Iterator[str]:
    """What a run says at its end, beside the table."""
    own, options = results.own.results, results.sweep.options
    yield from notes(own)
    missing = [result for result in own if result.verdict is Verdict.NO_BASELINE]
    faster = [result for result in own if result.verdict is Verdict.IMPROVED]
    untimed = [result for result in own if result.verdict is Verdict.NOT_TIMED]
    if missing:
        yield f"no time to compare with is recorded for {_names(missing)}; to record it: {options.accepting_all}"
    if faster:
        yield f"faster than recorded: {_names(faster)}; to accept it: {options.accepting_all}"
    if untimed:
        yield f"{_names(untimed)} was not timed: {untimed[0].counted.why}"
    for (name, gpu, stage), keys in results.own_unused.items():
        what = f"unused: {len(keys)} recorded times of {name} at {stage} on {gpu}, which no test used"
        yield f"{what}; to remove them: {options.pruning}"


def _names(results: Sequence[OwnResult], few: int = 8) -> str:
    more = f" and {len(results) - few} more" if len(results) > few else ""
    return ", ".join(map(str, results[:few])) + more
