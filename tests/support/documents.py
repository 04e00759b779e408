"""Report documents for tests: small, whole, and as strange as they may be."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from pytest_ocrsweep.baselines.measurement import ENVIRONMENT
from pytest_ocrsweep.baselines.metrics import analytic_names
from pytest_ocrsweep.baselines.result import COSTS
from pytest_ocrsweep.baselines.result_json import from_json
from pytest_ocrsweep.baselines.sweep_report import Report
from pytest_ocrsweep.model.attention import ATTENTION
from pytest_ocrsweep.model.geometry import CropGrid
from pytest_ocrsweep.model.stages import STAGES

KNOWN = tuple(name for name in ENVIRONMENT if name != "host")
PARTS = {
    "vision": ("sam", "clip", "projector"),
    "prefill": ("decoder/attn", "head"),
    "decode": ("head", "decoder/attn"),
}


def clocked(median: int, samples: int = 10) -> dict[str, Any]:
    """`samples` times that lie 0.2 % around their median."""
    step = median // 1000
    times = [median + step * (index % 3 - 1) for index in range(samples)]
    return {"min": median - step, "median": median, "q1": median - step, "q3": median + step, "samples": times}


def vendor(median: int = 20_000_000, **changed: Any) -> dict[str, Any]:
    """What a GPU took."""
    found = {
        "gpu": "NVIDIA H200",
        "tensor_flops": 10**12,
        "device_ns": clocked(median),
        "wall_ns": clocked(3 * median, samples=5),
        "peak_bytes": 837 * 10**6,
        "clock": "cuda-graph",
        "experts": "grouped_mm",
        "kernels": 2300,
        "token_ns": [2_000_000, 2_100_000],
        "stopped": "converged",
        "rounds": 1,
        "objections": [],
        "sm_clock_mhz": 1980,
        "power_w": 612.5,
        "gate": {"outcome": "pass", "change": 0.0012, "margin": 0.0127},
    }
    return found | changed


def point(stage: str = "prefill", grid: str = "2x3", attention: str = "flash", **changed: Any) -> dict[str, Any]:
    """A point that was measured; `tensor_flops=…` changes what was counted."""
    numbers = dict(
        zip(analytic_names(), (10**12, 10**10, 5 * 10**9, 10**9, 6 * 10**9, 55_500_000, 837 * 10**6), strict=True)
    )
    counted = {name: changed.pop(name) for name in analytic_names() if name in changed}
    parts = PARTS[stage]
    found = {
        "stage": stage,
        "grid": grid,
        "attention": attention,
        "image_tokens": 893,
        "context_tokens": 903,
        "new_tokens": 100,
        "batch": 1,
        "analytic": numbers | counted,
        "floor": {
            "device": "NVIDIA H200",
            "compulsory_bytes": 10**9,
            "dram_bytes": None,
            "time_ns": 1_152_063,
            "bound": "tensor",
            "tensor_ns": 1_152_063,
            "vector_ns": 128_650,
            "bandwidth_ns": 168_443,
            "kernel_limit_ns": 15_000_000,
            "attained": 0.0576,
            "mfu": 0.05,
            "mbu": 0.25,
        },
        "estimate": {
            "device": "NVIDIA H200",
            "time_ns": 19_000_000,
            "low_ns": 18_100_000,
            "high_ns": 19_900_000,
            "terms": {"launches": 4_000_000, "products": 15_000_000},
            "reasons": [],
        },
        "vendor": vendor(),
        "verdict": "PASS",
        "components": {part: dict.fromkeys(COSTS, 1 + index) for index, part in enumerate(parts)},
    }
    return found | changed


def own(name: str = "tuned", stage: str = "decode", **changed: Any) -> dict[str, Any]:
    """Code of the user's own that got slower: a model at a point, or a call."""
    at = {"grid": None, "attention": None} if stage == "call" else {"grid": "2x3", "attention": "flash"}
    found = {
        "name": name,
        "stage": stage,
        **at,
        "counted": {"tensor_flops": 7, "analytic_flops": 8, "differences": {"addmm": -1}, "why": None},
        "floor": None,
        "measured": vendor(gate={"outcome": "fail", "change": 0.25, "margin": 0.02}),
        "environment": dict.fromkeys(KNOWN[:-1], "known") | {"host": "node1"},
        "verdict": "FAIL",
        "moved": [
            {
                "metric": "device_ns",
                "old": 16_000_000,
                "new": 20_000_000,
                "change": 0.25,
                "margin": 0.02,
                "causes": [],
                "accept": "pytest test_mine.py --ocrsweep-update",
            }
        ],
    }
    return found | changed


def order(found: dict[str, Any]) -> tuple[int, CropGrid, str]:
    """How a document's points are sorted."""
    return list(STAGES).index(found["stage"]), CropGrid.parse(found["grid"]), found["attention"]


def with_own(*results: dict[str, Any], points: tuple[dict[str, Any], ...] = ()) -> Report:
    """A report of code of the user's own, and of these points; without points by default."""
    return from_json(document(*points) | {"points": sorted(points, key=order), "own": list(results)}, "a test")


def report(*points: dict[str, Any], **environment: str | None) -> Report:
    """The same as `document`, read."""
    return from_json(document(*points, **environment), "a test")


def document(*points: dict[str, Any], **environment: str | None) -> dict[str, Any]:
    """A report of these points, of one by default."""
    known = {"gpu": "NVIDIA H200", "driver": "580.1", "torch": "2.11.0", "dtype": "bf16", "weights": "random, seed 0"}
    return {
        "schema": 1,
        "model": "deepseek-ocr",
        "workload": {"prompt_tokens": 10, "new_tokens": 100, "batch": 1, "resolution": "gundam"},
        "environment": {
            **dict.fromkeys(KNOWN),
            **known,
            "attention_implementation": {"eager": "eager", "flash": "sdpa"},
            **environment,
        },
        "points": sorted(points or (point(),), key=order),
    }


whole = st.integers(0, 2**63 - 1)
ratio = st.floats(0, 1e6, allow_nan=False).map(abs)
name = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | name,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(name, inner, max_size=2),
    max_leaves=4,
)


@st.composite
def summaries(draw: st.DrawFn) -> dict[str, Any]:
    low, q1, median, q3 = sorted(draw(st.lists(st.integers(1, 2**62), min_size=4, max_size=4)))
    return {"min": low, "q1": q1, "median": median, "q3": q3, "samples": draw(st.lists(whole, max_size=4))}


def vendors() -> st.SearchStrategy[dict[str, Any]]:
    gate = st.fixed_dictionaries(
        {"outcome": st.none() | name, "change": ratio | st.none(), "margin": ratio | st.none()}
    )
    known = {
        "tensor_flops": st.none() | whole,
        "device_ns": summaries(),
        "wall_ns": st.none() | summaries(),
        "peak_bytes": st.none() | whole,
        **{field: st.none() | name for field in ("gpu", "clock", "experts", "stopped")},
        **{field: st.none() | whole for field in ("kernels", "rounds", "sm_clock_mhz")},
        "power_w": st.none() | ratio,
        "gate": gate,
    }
    return st.fixed_dictionaries(known, optional={"a field of tomorrow": anything})


def floors() -> st.SearchStrategy[dict[str, Any]]:
    fields = ("compulsory_bytes", "dram_bytes", "tensor_ns", "vector_ns", "bandwidth_ns", "kernel_limit_ns")
    known = {"device": name, "time_ns": whole, "bound": name, **dict.fromkeys(fields, st.none() | whole)}
    ratios = dict.fromkeys(("attained", "mfu", "mbu"), st.none() | ratio)
    return st.fixed_dictionaries(known | ratios, optional={"more": anything})


def estimates() -> st.SearchStrategy[dict[str, Any]]:
    """A time inside its interval, and terms that sum to it, or none."""

    def made(ends: list[int], terms: dict[str, int], more: dict[str, Any]) -> dict[str, Any]:
        low_ns, time_ns, high_ns = sorted(ends)
        if terms:
            low_ns, time_ns, high_ns = 0, sum(terms.values()), 2**63 - 1
        return {"time_ns": time_ns, "low_ns": low_ns, "high_ns": high_ns, "terms": terms, **more}

    above_0 = whole.filter(bool)
    terms = st.dictionaries(name, above_0.map(lambda ns: ns // 4 + 1), max_size=2)
    more = st.fixed_dictionaries({"device": name, "reasons": st.lists(name, max_size=2)}, optional={"more": anything})
    return st.builds(made, st.lists(above_0, min_size=3, max_size=3), terms, more)


def points() -> st.SearchStrategy[dict[str, Any]]:
    costs = st.fixed_dictionaries(dict.fromkeys(COSTS, whole), optional={"weight_bytes": whole})
    return st.fixed_dictionaries(
        {
            "stage": st.sampled_from(list(STAGES)),
            "grid": st.tuples(st.integers(1, 30), st.integers(1, 30)).map(lambda sides: f"{sides[0]}x{sides[1]}"),
            "attention": st.sampled_from(list(ATTENTION)),
            **dict.fromkeys(("image_tokens", "context_tokens", "new_tokens", "batch"), whole),
            "analytic": st.fixed_dictionaries(dict.fromkeys(analytic_names(), whole), optional={"more": anything}),
            "floor": st.none() | floors(),
            "estimate": st.none() | estimates(),
            "vendor": st.none() | vendors(),
            "verdict": name,
            "components": st.dictionaries(name, costs, max_size=3),
        },
        optional={"a field of tomorrow": anything},
    )


def documents() -> st.SearchStrategy[dict[str, Any]]:
    """Whole documents of any content."""
    workload = dict.fromkeys(("prompt_tokens", "new_tokens", "batch"), whole) | {"resolution": name}
    some = st.lists(points(), max_size=3, unique_by=lambda found: (found["stage"], found["grid"], found["attention"]))
    return st.fixed_dictionaries(
        {
            "schema": st.just(1),
            "model": name,
            "workload": st.fixed_dictionaries(workload),
            "environment": st.fixed_dictionaries(dict.fromkeys(KNOWN, st.none() | name), optional={"x": anything}),
            "points": some.map(lambda found: sorted(found, key=order)),
        },
        optional={"a field of tomorrow": anything},
    )
