"""Of a stage's kernels those stay whose memory no other covers, and one of them is the largest at every workload."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_ocrsweep.model.kernels import Kernel
from pytest_ocrsweep.model.liveness import highest
from pytest_ocrsweep.model.symbolic import Size, poly, round_up, symbol

ROWS, BATCH = symbol("rows"), symbol("batch")


def once(sizes: dict[str, Size]) -> list[Kernel]:
    """Kernels that free what they allocate."""
    return [Kernel(path, allocates=poly(size), frees=poly(size)) for path, size in sizes.items()]


def paths(sizes: dict[str, Size]) -> list[str]:
    return [path for _, path in highest(once(sizes), 0)]


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        (3 * ROWS, 3 * ROWS + 1, ["second"]),
        (3 * ROWS + 1, 3 * ROWS, ["first"]),
        (3 * ROWS, 3 * ROWS, ["first"]),
        (3 * ROWS, 2 * ROWS + 1, ["first", "second"]),
        (3 * ROWS, 3 * BATCH, ["first", "second"]),
        (ROWS * BATCH, ROWS, ["first", "second"]),
        (5, 4 * ROWS, ["first", "second"]),
    ],
)
def test_a_kernel_is_covered_by_one_of_no_smaller_terms(first, second, kept):
    assert paths({"first": first, "second": second}) == kept


@pytest.mark.parametrize("times", [1, 3])
def test_a_size_rounded_up_is_the_size_or_less_than_a_unit_more(times):
    rounded = times * round_up(7 * ROWS + BATCH, 512)
    size = times * (7 * ROWS + BATCH)
    assert paths({"rounded": rounded, "size": size}) == ["rounded"]
    assert paths({"size": size, "rounded": rounded}) == ["rounded"]
    assert paths({"rounded": rounded, "more": size + times * 511}) == ["more"]
    assert paths({"rounded": rounded, "more": size + times * 511 - 1}) == ["rounded", "more"]
    assert paths({"rounded": rounded, "less": size - 1}) == ["rounded"]
    assert paths({"rounded": rounded, "longer": size + BATCH}) == ["rounded", "longer"]


def test_two_sizes_rounded_up_are_compared_by_what_both_may_be():
    longer, shorter = round_up(9 * ROWS, 512), round_up(4 * ROWS, 256)
    assert paths({"longer": longer, "shorter": shorter}) == ["longer", "shorter"], "255 more than 4 rows, of no rows"
    assert paths({"longer": longer + 255, "shorter": shorter}) == ["longer"]
    assert paths({"longer": longer + 254, "shorter": shorter}) == ["longer", "shorter"]
    assert paths({"twice": 2 * longer + 255, "shorter": longer + shorter}) == ["twice"]


def test_a_size_rounded_up_and_multiplied_is_compared_as_it_is():
    rounded = BATCH * round_up(ROWS, 512)
    assert paths({"rounded": rounded, "more": BATCH * (ROWS + 511)}) == ["rounded", "more"]
    assert paths({"rounded": rounded, "twice": 2 * rounded}) == ["twice"]


def test_what_is_not_freed_is_there_at_the_next_kernel_and_the_caches_growth_is_not_counted():
    kernels = [
        Kernel("first", allocates=poly(10 * ROWS)),
        Kernel("second", allocates=poly(BATCH), frees=4 * ROWS),
        Kernel("third", allocates=poly(7 * BATCH), frees=poly(7 * BATCH)),
    ]
    second, third = 8 * ROWS + BATCH - 5, 4 * ROWS + 8 * BATCH - 5
    assert highest(kernels, 2 * ROWS + 5) == [(second, "second"), (third, "third")]


@st.composite
def sizes(draw: st.DrawFn) -> Size:
    a, b, c, d = (draw(st.integers(0, 3)) for _ in range(4))
    unit = draw(st.sampled_from([1, 2, 4, 512]))
    return a * ROWS + b * BATCH + c * round_up(d * ROWS + b, unit) + draw(st.integers(0, 2 * unit))


@given(
    st.lists(st.tuples(sizes(), st.booleans()), min_size=1, max_size=8),
    sizes(),
    st.lists(st.tuples(st.integers(0, 1200), st.integers(0, 5)), min_size=1),
)
def test_the_largest_of_those_that_stay_is_the_largest_of_all(drawn, growth, points):
    kernels = [Kernel(str(i), allocates=size, frees=size if freed else 0) for i, (size, freed) in enumerate(drawn)]
    kept = highest(kernels, growth)
    for rows, batch in points:
        at = {"rows": rows, "batch": batch}
        live, most = -poly(growth).at(at), {}
        for kernel in kernels:
            live += poly(kernel.allocates).at(at)
            most[kernel.path] = live
            live -= poly(kernel.frees).at(at)
        found = {path: size.at(at) for size, path in kept}
        assert found.items() <= most.items()
        assert {type(size) for size in found.values()} == {int}
        assert max(found.values()) == max(most.values())
