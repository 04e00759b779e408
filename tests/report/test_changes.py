"""What moved, in words: numbers that are never printed alike, and one row for points that moved alike."""

from __future__ import annotations

import pytest

from pytest_ocrsweep.report.changes import Row, gathered, row


def moved(grid: str, metric: str, change: float | None, margin: float | None = None, stage: str = "decode") -> Row:
    old = 0 if change is None else 10**12
    new = 10**12 if change is None else round(10**12 * (1 + change))
    return row(f"{stage} {grid} flash", metric, old, new, change, margin, stage)


def test_points_of_a_stage_that_moved_alike_are_one_row_with_the_range() -> None:
    rows = [moved("1x1", "read_bytes", 0.2), moved("2x3", "read_bytes", 0.1), moved("1x2", "read_bytes", 0.15)]
    (one,) = gathered(rows)
    assert (one.point, one.metric, one.change, one.margin) == (
        *("decode, 3 points; most at 1x1 flash", "GB read"),
        *("+10.00 % to +20.00 %", "exact"),
    )
    assert (one.old, one.new) == (rows[0].old, rows[0].new)


def test_other_stages_metrics_and_ways_are_other_rows_and_one_point_stays_as_it_is() -> None:
    rows = [
        moved("1x1", "device_ns", 0.05, 0.02),
        moved("1x2", "device_ns", 0.04, 0.01),
        moved("1x1", "device_ns", 0.03, 0.02, stage="prefill"),
        moved("1x1", "device_ns", -0.03, 0.02),  # faster
        moved("1x1", "read_bytes", 0.02),
    ]
    found = gathered(rows)
    assert [(each.point, each.change, each.margin) for each in found] == [
        ("decode, 2 points; most at 1x1 flash", "+4.00 % to +5.00 %", "1.0 to 2.0 %"),
        ("prefill 1x1 flash", "+3.00 %", "2.0 %"),
        ("decode 1x1 flash", "-3.00 %", "2.0 %"),
        ("decode 1x1 flash", "+2.00 %", "exact"),
    ]


def test_what_stands_alone_is_never_put_together() -> None:
    rows = [row(name, "device_ns", 10**9, 2 * 10**9, 1.0, 0.1) for name in ("render", "tuned at decode 2x3 flash")]
    assert gathered(rows) == rows


def test_the_same_change_is_no_range_and_one_from_zero_says_so() -> None:
    (same,) = gathered([moved("1x1", "weight_bytes", 0.1), moved("1x2", "weight_bytes", 0.1)])
    assert same.change == "+10.00 %"
    (grown,) = gathered([moved("1x1", "weight_bytes", None), moved("1x2", "weight_bytes", 0.1)])
    assert grown.change == "from 0 to +10.00 %"


@pytest.mark.parametrize(("old", "new", "said"), [(10**12, 10**12 + 7, ("FLOPs", "1,000,000,000,000"))])
def test_numbers_that_would_look_alike_are_in_base_units(old: int, new: int, said: tuple[str, str]) -> None:
    found = row("decode 1x1 flash", "tensor_flops", old, new, 7e-12, None)
    assert (found.metric, found.old, found.new) == (*said, "1,000,000,000,007")
