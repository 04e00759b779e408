"""A sweep's columns are the numbers of ledgers, whatever the shape and order of its points, or an error."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_ocrsweep import CropGrid, Ledger, Model, Workload, load_model
from pytest_ocrsweep.errors import ColumnOverflow
from pytest_ocrsweep.model import bulk
from pytest_ocrsweep.model.attention import ATTENTION
from pytest_ocrsweep.model.bulk import INPUTS, NAMES, Columns, chunks
from pytest_ocrsweep.model.bulk_plan import LIMIT, distinct_experts
from pytest_ocrsweep.model.geometry import RESOLUTIONS
from pytest_ocrsweep.model.stages import STAGES
from pytest_ocrsweep.model.symbolic import DistinctExperts, Poly, RoundedUp, factor, symbol

MODELS = {name: load_model(name) for name in ("deepseek-ocr", "deepseek-ocr-tiny")}
MODEL = MODELS["deepseek-ocr"]

sides = st.one_of(st.integers(1, 4), st.integers(1, 300))
cases = st.tuples(sides, sides, st.one_of(st.just(1), st.integers(1, 64)), st.integers(0, 9999), st.integers(1, 9999))
cases = st.one_of(cases, cases.map(lambda case: (1, 1, *case[2:])))


def expected(ledger: Ledger) -> dict[str, int]:
    """A point's columns, asked of its ledger one by one."""
    work, cost = ledger.work, ledger.total()
    numbers = (
        *(work.grid.rows, work.grid.columns, work.batch, work.prompt_tokens, work.new_tokens),
        *(work.image_tokens, work.context_tokens),
        *(cost.tensor_flops, cost.vector_flops, cost.read_bytes, cost.write_bytes),
        *(ledger.weight_bytes, ledger.kv_cache_bytes, ledger.compulsory_bytes, ledger.peak_activation_bytes),
    )
    return dict(zip(NAMES, numbers, strict=True))


def workload(case: tuple[int, ...], resolution: str = "gundam") -> Workload:
    rows, cols, batch, prompt_tokens, new_tokens = case
    return Workload(CropGrid(rows, cols), prompt_tokens, new_tokens, batch, resolution)


def points(swept: Mapping[str, np.ndarray]) -> list[dict[str, int]]:
    return [dict(zip(swept, map(int, values), strict=True)) for values in zip(*swept.values(), strict=True)]


def arrays(rows: list[tuple[int, ...]]) -> dict[str, list[int]]:
    return dict(zip(INPUTS, map(list, zip(*rows, strict=True)), strict=True))


# Equality


@given(
    st.sampled_from(list(MODELS)),
    st.sampled_from(list(STAGES)),
    st.sampled_from(list(ATTENTION)),
    st.sampled_from(list(RESOLUTIONS)),
    st.lists(cases, min_size=1, max_size=8),
)
def test_every_column_is_the_ledgers_number(name, stage, attention, resolution, rows):
    model = MODELS[name]
    if RESOLUTIONS[resolution].crop_side is None:
        rows = [(1, 1, *case[2:]) for case in rows]
    ledgers = [(model.ledger, workload(case, resolution)) for case in rows]
    numbers = [expected(ledger(stage, work, attention)) for ledger, work in ledgers]
    sizes = arrays(rows)
    if any(number > LIMIT for row in numbers for number in row.values()):
        with pytest.raises(ColumnOverflow):
            model.sweep(stage, attention=attention, resolution=resolution, **sizes)
    else:
        assert points(model.sweep(stage, attention=attention, resolution=resolution, **sizes)) == numbers


@given(
    st.sampled_from(list(STAGES)),
    st.lists(st.tuples(*(st.integers(1, 9) for _ in INPUTS)), min_size=1, max_size=8),
    st.sampled_from(INPUTS),
)
def test_a_size_given_once_is_that_of_all_points(stage, rows, name):
    sizes = arrays(rows)
    sizes[name] = sizes[name][0]
    once = MODEL.sweep(stage, **sizes)
    each = MODEL.sweep(stage, **{**sizes, name: [sizes[name]] * len(rows)})
    assert points(once) == points(each)


def test_a_long_sweep_in_blocks_is_its_points_one_by_one(monkeypatch):
    monkeypatch.setattr(bulk, "BLOCK", 7)
    grid = np.indices((5, 6)).reshape(2, -1) + 1
    swept = MODEL.sweep("prefill", rows=grid[0], cols=grid[1], batch=2)
    assert points(swept) == [
        expected(MODEL.ledger("prefill", workload((r, c, 2, 10, 100)))) for r, c in product(range(1, 6), range(1, 7))
    ]


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n))), st.integers(0, 10**12))
def test_experts_reached_are_the_numbers_of_single_points(sizes, tokens):
    one = DistinctExperts("", symbol("n"), *sizes)
    many = [*range(200), tokens]
    assert distinct_experts(one, np.array(many)).tolist() == [one.of(n) for n in many]


# Shapes and types


def test_sizes_broadcast_and_the_last_axis_is_the_fastest():
    swept = MODEL.sweep("vision", rows=np.array([[1], [2]]), cols=range(1, 4), batch=np.uint8(2))
    assert list(zip(swept["rows"].tolist(), swept["cols"].tolist(), strict=True)) == list(product((1, 2), (1, 2, 3)))
    assert swept["batch"].tolist() == [2] * 6


def test_every_column_is_a_flat_array_of_64_bit_integers():
    swept = MODEL.sweep("decode", rows=np.arange(1, 4, dtype=np.int8), cols=2)
    assert tuple(swept) == NAMES
    assert {(column.dtype, column.shape) for column in swept.values()} == {(np.dtype(np.int64), (3,))}
    assert swept.points == 3


def test_one_point_is_a_column_of_one_and_no_point_columns_of_none():
    assert points(MODEL.sweep("decode", rows=2, cols=3)) == [
        expected(MODEL.ledger("decode", workload((2, 3, 1, 10, 100))))
    ]
    assert points(MODEL.sweep("decode", rows=[], cols=3)) == []


def test_a_sweep_goes_to_arrow_on_the_same_memory():
    pyarrow = pytest.importorskip("pyarrow")
    swept = MODEL.sweep("prefill", rows=[1, 2], cols=3)
    table = swept.to_arrow()
    assert table.to_pylist() == points(swept)
    for name, column in swept.items():
        (chunk,) = table[name].chunks
        assert chunk.type == pyarrow.int64()
        assert chunk.buffers()[1].address == column.ctypes.data


def test_a_sweep_goes_to_pandas_on_the_same_memory():
    pytest.importorskip("pandas")
    swept = MODEL.sweep("prefill", rows=[1, 2], cols=3)
    frame = swept.to_pandas()
    assert frame.to_dict("records") == points(swept)
    assert all(np.shares_memory(frame[name].to_numpy(), column) for name, column in swept.items())


def test_a_sweep_goes_to_polars():
    polars = pytest.importorskip("polars")
    swept = MODEL.sweep("prefill", rows=[1, 2], cols=3)
    assert polars.DataFrame(dict(swept)).to_dicts() == points(swept)


def test_a_sweep_cannot_be_changed():
    swept = MODEL.sweep("vision", rows=1, cols=1)
    with pytest.raises(ValueError, match="read-only"):
        swept["batch"][0] = 2
    with pytest.raises(AttributeError):
        swept.stage = "decode"


# Refusals


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stage": "train"}, "unknown stage 'train': choose from vision, prefill, decode"),
        ({"attention": "linear"}, "unknown attention 'linear': choose from eager, flash"),
        ({"resolution": "huge"}, "unknown resolution 'huge': choose from gundam, tiny"),
        ({"resolution": "tiny"}, "resolution 'tiny' has no crops: use grid 1x1, got 1x2"),
        ({"cols": [2, 0]}, "a crop grid needs at least 1 row and 1 column, in whole numbers, got 1x0"),
        ({"batch": [1, -1]}, "batch must be a whole number of at least 1, got -1"),
        ({"new_tokens": 0}, "new_tokens must be a whole number of at least 1, got 0"),
        ({"prompt_tokens": -1}, "prompt_tokens must be a whole number of at least 0, got -1"),
        ({"batch": 1.5}, "batch must be whole numbers of at most 64 bits, got 1.5 (float64)"),
        ({"batch": [True]}, "batch must be whole numbers of at most 64 bits, got True (bool)"),
        ({"batch": 2**70}, f"batch must be whole numbers of at most 64 bits, got {2**70} (object)"),
        ({"batch": [1, 2, 3]}, "sizes of shapes that do not broadcast to one: cols (2,), batch (3,)"),
    ],
)
def test_what_no_workload_is_is_refused_as_a_workload_refuses_it(change, message):
    given = {"stage": "vision", "rows": 1, "cols": [1, 2], **change}
    with pytest.raises(ValueError, match=re.escape(message)):
        MODEL.sweep(given.pop("stage"), **given)


@pytest.mark.parametrize("given", [{"stage": "train"}, {"attention": "linear"}, {"resolution": "huge"}])
def test_what_is_unknown_is_refused_for_no_point_too(given):
    with pytest.raises(ValueError, match="unknown"):
        MODEL.sweep(**{"stage": "vision", "rows": [], "cols": [], **given})


# Overflow


def test_a_number_that_does_not_fit_is_an_error_that_names_column_and_point():
    with pytest.raises(OverflowError, match=r"^tensor_flops of prefill at rows=900, cols=1000, batch=3, "):
        MODEL.sweep("prefill", rows=[2, 900, 1000], cols=1000, batch=3, prompt_tokens=7)


def test_a_size_beyond_64_bits_is_an_error():
    with pytest.raises(OverflowError, match="batch: 18,446,744,073,709,551,615 is more than a column holds"):
        MODEL.sweep("vision", rows=1, cols=1, batch=np.uint64(2**64 - 1))


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", INPUTS)
def test_the_largest_that_fits_is_exact_and_one_more_is_an_error(stage, name):
    """Found by halving: below it no number is beyond the limit, above it one is."""

    def numbers(size: int) -> dict[str, int]:
        return expected(MODEL.ledger(stage, workload(tuple({**base, name: size}.values()))))

    base = dict(zip(INPUTS, (3, 5, 7, 11, 13), strict=True))
    low, high = 1, 2**63
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if max(numbers(middle).values()) <= LIMIT else (low, middle)
    sizes = {**base, name: [1, low, low - 1]}
    assert points(MODEL.sweep(stage, **sizes))[1:] == [numbers(low), numbers(low - 1)]
    if high < 2**63:
        with pytest.raises(ColumnOverflow, match=f"{name}={high}"):
            MODEL.sweep(stage, **{**base, name: [1, high]})
        with pytest.raises(ColumnOverflow, match=f"{name}={high}"):
            MODEL.sweep(stage, **{**base, name: high})


def test_a_bound_covers_the_sizes_inside_and_what_is_subtracted():
    rows, batch, most = symbol("rows"), symbol("batch"), {"rows": 3, "batch": 1000}
    assert (2 * rows - 5 * batch + 7).bound(most) == 2 * 3 + 5 * 1000 + 7
    assert Poly({(RoundedUp("", 7 * batch - rows, 512), factor("rows")): -1}).bound(most) == 7168 * 3
    assert Poly({(DistinctExperts("", rows * batch, 64, 6),): 2}).bound(most) == 2 * 3000
    assert Poly({(DistinctExperts("", rows, 64, 6),): 2}).bound(most) == 2 * 64


# Chunks


@given(
    st.lists(st.integers(1, 3), min_size=1, max_size=3, unique=True),
    st.lists(st.integers(1, 4), min_size=1, max_size=3, unique=True),
    st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True),
    st.integers(1, 30),
)
def test_chunks_of_a_space_are_the_space(rows, cols, batch, size):
    axes = [{name: np.array(values)} for name, values in zip(INPUTS, (rows, cols, batch, [4], [5]), strict=True)]
    parts = list(chunks(MODEL, "prefill", "flash", "gundam", axes, size))
    whole = MODEL.sweep(
        "prefill",
        rows=np.reshape(rows, (-1, 1, 1)),
        cols=np.reshape(cols, (-1, 1)),
        batch=batch,
        prompt_tokens=4,
        new_tokens=5,
    )
    assert [point for part in parts for point in points(part)] == points(whole)
    assert [part.points for part in parts[:-1]] == [size] * (len(parts) - 1)


def test_grids_of_a_list_go_together_along_one_axis():
    axes = [{"rows": np.array([1, 2]), "cols": np.array([1, 5])}, {"batch": np.array([1, 2])}]
    axes += [{"prompt_tokens": np.array([10])}, {"new_tokens": np.array([100])}]
    (part,) = chunks(MODEL, "vision", "flash", "gundam", axes)
    assert [(p["rows"], p["cols"], p["batch"]) for p in points(part)] == [(1, 1, 1), (1, 1, 2), (2, 5, 1), (2, 5, 2)]


def test_a_space_that_overflows_at_its_far_end_says_so_before_its_first_chunk():
    axes = [{name: np.array([1, 1000])} for name in INPUTS]
    with pytest.raises(ColumnOverflow, match="rows=1000, cols=1000"):
        next(chunks(MODEL, "prefill", "flash", "gundam", axes, 1))


# The package


def test_a_sweep_shows_what_it_holds():
    swept = MODEL.sweep("decode", rows=[1, 2], cols=3)
    assert repr(swept).startswith("Columns('decode', 'flash', 'gundam', 2 points of rows, cols, batch")
    assert isinstance(swept, Columns)
    assert isinstance(MODEL, Model)
