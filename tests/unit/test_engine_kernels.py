"""Every kernel that a real vLLM ran is one line of the ledger of engine=vllm, and each line has its kernels."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import engine_kernels
import kernel_table
import pytest
from engine_kernels import Kernel, Matched, Trace, lines_of, matched, traces
from kernel_rules import RULES, NotMatched, rule_key

from pytest_ocrsweep import load_model
from pytest_ocrsweep.hardware.roofline import kernel_limit
from pytest_ocrsweep.model.run_order import Run
from pytest_ocrsweep.sweep.config import devices

VLLM, H200 = load_model(engine="vllm"), devices()["h200"]
TRACES = {f"{trace.stage}-{trace.grid}-{trace.pages}": trace for trace in traces()}
NAMED = r"where the ledger has line|no line is left|: line"
OPTIONAL = ("memset", "split_k", "flash_sum", "to_device", "to_host", "fill", "align")  # a line may have several
SHORT = "prefill-1x1-1"
CHANGED = (SHORT, "decode-3x2-1", "decode-3x2-64")
PAGE = Path(__file__).parents[2] / "docs/vllm-kernels.md"


@cache
def pairs(name: str) -> list[Matched]:
    return matched(TRACES[name].kernels, lines_of(VLLM, TRACES[name]))


def test_the_traces_are_of_both_stages_and_of_one_page_and_many() -> None:
    assert set(TRACES) == {
        *("prefill-1x1-1", "prefill-3x2-1", "prefill-3x2-8"),
        *("decode-3x2-1", "decode-3x2-8", "decode-3x2-64"),
    }


@pytest.mark.parametrize("name", TRACES)
def test_each_kernel_is_one_line_and_each_line_has_its_kernels(name: str) -> None:
    found, trace = pairs(name), TRACES[name]
    assert sorted(kernel for pair in found for kernel in pair.kernels) == sorted(trace.kernels)
    assert sorted(pair.run for pair in found if pair.run) == sorted(lines_of(VLLM, trace))
    assert all(pair.kernels for pair in found)


@pytest.mark.parametrize("name", TRACES)
def test_little_time_is_outside_the_ledger(name: str) -> None:
    outside = sum(pair.time_ns for pair in pairs(name) if pair.run is None)
    assert 0 < outside < 0.1 * sum(pair.time_ns for pair in pairs(name))


def changed(kernels: list[Kernel] | None = None, lines: list[Run] | None = None, name: str = SHORT) -> list[Matched]:
    trace = TRACES[name]
    return matched(trace.kernels if kernels is None else kernels, lines_of(VLLM, trace) if lines is None else lines)


@pytest.mark.parametrize("name", CHANGED)
def test_a_line_more_or_less_is_an_error(name: str) -> None:
    lines = lines_of(VLLM, TRACES[name])
    for place in range(0, len(lines), 97):
        with pytest.raises(NotMatched, match=NAMED):
            changed(lines=[*lines[:place], lines[place], *lines[place:]], name=name)
        with pytest.raises(NotMatched, match=NAMED):
            changed(lines=[*lines[:place], *lines[place + 1 :]], name=name)


@pytest.mark.parametrize("name", CHANGED)
def test_a_kernel_more_or_less_is_an_error(name: str) -> None:
    kernels = [kernel for kernel in TRACES[name].kernels if engine_kernels.kind_of(kernel.name) not in OPTIONAL]
    whole = TRACES[name].kernels
    for kernel in kernels[5::97]:
        place = whole.index(kernel)
        with pytest.raises(NotMatched, match=NAMED):
            changed([*whole[:place], kernel, *whole[place:]], name=name)
        with pytest.raises(NotMatched, match=NAMED):
            changed([*whole[:place], *whole[place + 1 :]], name=name)


def test_a_kernel_of_no_line_is_named() -> None:
    kernels = list(TRACES[SHORT].kernels)
    kernels.insert(700, kernels[700]._replace(name="somebody_elses_kernel"))
    with pytest.raises(NotMatched, match="somebody_elses_kernel is a kernel of no line"):
        changed(kernels)
    kernels[700] = kernels[700]._replace(name="gatherTopK<float>")
    with pytest.raises(
        NotMatched, match=r"kernel 699 of 1193 is .*, then top_k flash_plan flash where the ledger has line clip/"
    ):
        changed(kernels)


def test_a_kernel_of_another_size_is_an_error() -> None:
    kernels = list(TRACES[SHORT].kernels)
    place = next(i for i, kernel in enumerate(kernels) if kernel.operation == "aten::addmm")
    kernels[place] = kernels[place]._replace(sizes=[[768], [4096, 768], [768, 769], [], []])
    with pytest.raises(NotMatched, match="line sam/patch_embed has tensor FLOPs"):
        changed(kernels)


def test_every_rule_is_of_some_line() -> None:
    used = {rule_key(run.path) for name in TRACES for run in lines_of(VLLM, TRACES[name])}
    assert used == set(RULES)


@pytest.mark.parametrize(
    "switch", ["original_clip", "linear_patches", "indexed_places", "grouped_router", "pages_alone"]
)
def test_without_a_switch_the_kernels_are_not_those_of_the_ledger(switch: str) -> None:
    other = replace(VLLM, engine=replace(VLLM.engine, **{switch: False}))  # type: ignore[arg-type]
    trace = TRACES["prefill-3x2-1"]
    with pytest.raises(NotMatched):
        matched(trace.kernels, lines_of(other, trace))


def decodes() -> list[Trace]:
    return [trace for trace in TRACES.values() if trace.stage == "decode"]


def test_a_step_is_never_faster_than_its_kernel_limit() -> None:
    for row in kernel_table.steps(VLLM, H200):
        assert 0 < row.least_ns <= row.limit_ns < row.time_ns


def test_a_line_of_a_step_is_never_faster_than_its_limit_under_any_routing() -> None:
    for trace in decodes():
        for row in kernel_table.lines(VLLM, H200, trace, matched(trace.kernels, lines_of(VLLM, trace))):
            assert row.least_ns <= row.time_ns, (trace.pages, row)


def test_the_limit_of_a_step_is_that_of_the_ledgers_last_step() -> None:
    for trace in decodes():
        whole, before = (
            kernel_limit(VLLM.ledger("decode", replace(trace.work, new_tokens=trace.work.new_tokens - less)), H200)
            for less in (0, 1)
        )
        row = next(row for row in kernel_table.steps(VLLM, H200) if (row.stage, row.pages) == ("decode", trace.pages))
        assert abs(row.limit_ns - (whole - before)) <= 2


def test_the_page_has_the_tables_of_the_recording() -> None:
    assert kernel_table.page(VLLM, H200) == PAGE.read_text(encoding="utf-8")
