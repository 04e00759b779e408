"""The page for pull requests: what failed first, every number with its unit, and short."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from documents import own, point, report, vendor, with_own

from pytest_ocrsweep.baselines.measurement import ENVIRONMENT
from pytest_ocrsweep.baselines.moved import Moved
from pytest_ocrsweep.baselines.sweep_report import Report
from pytest_ocrsweep.model.attention import ATTENTION
from pytest_ocrsweep.model.stages import STAGES
from pytest_ocrsweep.report.markdown import FAILING, FEW, page
from pytest_ocrsweep.report.terminal import HEAVIEST, MANY

WHOLE = Path(__file__).with_name("page.md")

LIMIT = 1 << 20  # bytes of GitHub's step summary


def large(**changed: object) -> Report:
    """1,000 grids, three stages, two attentions."""
    grids = [f"{rows}x{columns}" for rows in range(1, 26) for columns in range(1, 41)]
    return report(*(point(stage, grid, how, **changed) for stage in STAGES for grid in grids for how in ATTENTION))


def tables(text: str) -> list[list[list[str]]]:
    """Every table as rows of cells, without its ruler."""
    found = re.findall(r"(?:^\|.*\n?)+", text, re.M)
    return [[re.split(r" \| ", row.strip("| ")) for row in table.splitlines() if "---" not in row] for table in found]


def test_verdicts_come_first_and_then_what_failed():
    text = page(report(point(), point("decode", verdict="FAIL"), point("decode", "1x1")))
    assert text.startswith("## deepseek-ocr: 1 of 3 points failed\n")
    verdicts, failing = tables(text)[1:3]
    assert verdicts == [["verdict", "prefill", "decode"], ["FAIL", "0", "1"], ["PASS", "1", "1"]]
    assert failing[1][:4] == ["decode", "2x3", "flash", "FAIL"]
    assert text.index("Failing points: 1") < text.index("<summary>prefill: 1 point</summary>")


def test_a_run_in_which_nothing_failed_says_so():
    assert page(report(point(), point("decode"))).startswith("## deepseek-ocr: 2 points, none failed\n")


def test_a_number_stands_under_its_heading():
    head, row = tables(page(report(point(tensor_flops=2 * 10**12))))[2]
    shown = dict(zip(head, row, strict=True))
    assert shown == {
        "grid": "2x3",
        "attention": "flash",
        "verdict": "PASS",
        "tokens": "903",
        "TFLOP": "2.010",
        "GB moved": "6.00",
        "FLOP/byte": "335.0",
        "peak GB": "0.837",
        "KV MB": "55.5",
        "floor ms": "1.152",
        "estimate ms": "19.000",
        "device ms": "20.000",
        "attained": "0.058",
        "wall ms": "60.0",
        "bound": "tensor",
    }


def test_every_row_has_as_many_cells_as_its_header():
    mixed = [point(), point("decode", vendor=None, floor=None), point("vision", verdict="FAIL", vendor=None)]
    for table in tables(page(report(*mixed))):
        assert {len(row) for row in table} == {len(table[0])}


def test_a_failing_time_shows_its_change_and_margin():
    slow = vendor(gate={"outcome": "fail", "change": 0.0312, "margin": 0.0127})
    head, row = tables(page(report(point(verdict="FAIL", vendor=slow))))[2]
    assert dict(zip(head, row, strict=True))["change %"] == "+3.12"
    assert dict(zip(head, row, strict=True))["margin %"] == "1.27"


def test_what_nobody_measured_has_no_columns_and_is_said():
    text = page(report(point(vendor=None)))
    assert "device ms" not in text
    assert "Nothing was measured." in text


def test_every_table_but_the_answer_is_folded():
    text = page(report(*(point("prefill", f"1x{n}") for n in range(1, 14)), point("decode")))
    assert "<summary>prefill: 13 points</summary>" in text
    assert "<summary>decode: 1 point</summary>" in text
    assert text.count("<details>") == text.count("</details>") == 3
    assert len(tables(text[: text.index("<details>")])) == 2


def test_a_thousand_grids_stay_short_and_say_how_many_are_left_out():
    text = page(large())
    assert len(text.encode()) < LIMIT / 100
    assert "vision: the heaviest 4 of 2,000 points; `sweep.json` has all" in text


def test_a_thousand_failing_grids_stay_short_too():
    text = page(large(verdict="FAIL"))
    assert len(text.encode()) < LIMIT / 50
    assert "6000 of 6000 points failed" in text.replace(",", "")
    assert len(tables(text)[2]) == 1 + FAILING
    assert "… and 5,950 failing points more" in text


def test_names_are_text_and_no_markup():
    text = page(report(point(verdict="A|B"), gpu="<img src=x>\n# H200 `x`"))
    assert "\\<img src=x\\> \\#\u200b H200 \\`x\\`" in text
    assert r"A\|B" in text


def test_a_whole_page_is_as_in_the_file_beside_this_one():
    hosts = [{**dict.fromkeys(ENVIRONMENT[:-1]), "host": host, "gpu": gpu} for host, gpu in (("n1", "A"), ("n2", "B"))]
    moved = vendor(gate={"outcome": "fail", "change": 0.05, "margin": None})
    points = [
        point("prefill", "2x3", verdict="NO SAMPLE", vendor=moved),
        point("prefill", "1x1", verdict="FAIL", vendor=None, floor=None),
        point("decode", "1x1", vendor=None, new_tokens=7, verdict=""),
        point("decode", "1x2", verdict="IMPROVED"),
    ]
    assert page(report(*points, host="node1", hosts=hosts)) == WHOLE.read_text()


def test_what_accounts_for_a_failed_time_follows_the_failing_points():
    cause = "decoder/attn +10.2 % (+61,428 ns), +2.8 % of the point: decoder/attn/fused +105.9 % (+61,612 ns)"
    line = {"decoder/attn/fused": {"time_ns": 120_000, "share": 1.0}}
    profile = {"device_ns": 120_000, "gap_ns": 0, "kernels": 12, "components": line, "lines": line}
    moved = vendor(profile=profile | {"causes": [cause, "@everyone"]})
    slower = point("decode", "2x3", verdict="FAIL", vendor=moved)
    assert (
        "\n\nWhat grew in decode 2x3 flash, in one call or a decode's last step:\n\n"
        f"- {cause}\n- @\u200beveryone\n\n<details>\n<summary>Failing points: 2</summary>"
    ) in page(report(slower, point("decode", "1x1", vendor=vendor(profile=profile), verdict="FAIL")))


def grids(count: int, **changed: object) -> Report:
    return report(*(point("decode", f"1x{n}", tensor_flops=n, **changed) for n in range(1, count + 1)))


def test_tables_of_as_many_rows_as_they_may_have_are_whole():
    assert f"decode: {MANY} points" in page(grids(MANY))
    assert "failing points more" not in page(grids(FAILING, verdict="FAIL"))
    assert "… and 1 failing points more" in page(grids(FAILING + 1, verdict="FAIL"))


def test_the_heaviest_points_are_those_of_the_most_flops():
    table = tables(page(grids(MANY + 1)))[-1]
    assert [row[0] for row in table[1:]] == [f"1x{n}" for n in range(MANY - HEAVIEST + 2, MANY + 2)]


def test_a_sweep_of_nothing_is_a_page():
    assert "\n\nNothing was swept.\n\n" in page(replace(report(), points=()))


def red(count: int) -> Report:
    """So many points that each read more than before."""
    found = report(*(point("decode", f"1x{n}", verdict="FAIL") for n in range(1, count + 1)))
    moved = Moved("read_bytes", 10**9, 11 * 10**8, 0.1, None, ("decoder/attn +1",), "pytest suites --ocrsweep-update")
    return replace(found, points=tuple(replace(each, moved=(moved,), absent=frozenset()) for each in found.points))


def test_what_moved_is_said_with_its_component_and_the_command_that_accepts_it():
    text = page(red(2))
    assert "### Moved since the baseline: 2 numbers\n" in text
    assert "| decode 1x1 flash | GB read | 1.00 | 1.10 | +10.00 % | exact | decoder/attn +1 |" in text
    assert text.count("pytest suites --ocrsweep-update") == 1
    assert text.index("Moved since") < text.index("<details>")


def test_more_than_a_few_numbers_that_moved_are_a_row_a_kind_and_folded_and_very_many_are_cut():
    assert "numbers</summary>" not in page(red(FEW))
    said = page(red(FEW + 1))
    kind = (
        f"| decode, {FEW + 1} points; most at 1x1 flash | GB read | 1.00 | 1.10 | +10.00 % | exact | decoder/attn +1 |"
    )
    assert kind in said
    assert said.index(kind) < said.index("If that is meant") < said.index("| decode 1x1 flash | GB read")
    assert f"<summary>Each of these {FEW + 1} numbers</summary>" in said
    assert "… and 10 more: `sweep.json` has all." in page(red(FAILING + 10))


def test_a_page_of_both_stages_is_one_sentence_in_front():
    text = page(report(point("vision"), point("prefill"), point("decode")), price=2.5)
    assert (
        "**One 2x3 page takes 40.0 ms (measured)**, flash on NVIDIA H200: prefill 20.0, then 100 tokens 20.0. "
        "25 pages/s, $ 27.8 a million pages, 24.5 J a page."
    ) in text.split("\n\n")


def test_code_of_the_users_own_alone_is_the_answer() -> None:
    passes = own("render", "call", verdict="PASS", moved=[])
    red, green = page(with_own(own(), passes)), page(with_own(passes))
    assert red.startswith("## deepseek-ocr: of your own code failed tuned at decode 2x3 flash\n")
    assert "| tuned at decode 2x3 flash | device ms | 16.000 | 20.000 | +25.00 % | 2.0 % | not known |" in red
    assert "pytest test_mine.py --ocrsweep-update" in red
    assert green.startswith("## deepseek-ocr: 1 of your own code, none failed\n")
    assert "Nothing was swept" not in red + green
    many = page(with_own(*(own(f"n{at}") for at in range(FEW + 2)), points=(point(),)))
    first, _ = many.split("\n", 1)
    assert first.endswith(f"n{FEW - 1} at decode 2x3 flash and 2 more")
    assert first.startswith("## deepseek-ocr: 1 point, none failed; of your own code failed n0 at decode 2x3 flash, ")
