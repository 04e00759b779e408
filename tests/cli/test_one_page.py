"""`ocrsweep compare A B --page`: one page on two models, as `cost` and `fits` count it, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from PIL import Image

from pytest_ocrsweep import Workload, load_model
from pytest_ocrsweep.cli import main

FIRST, SECOND = "deepseek-ocr", "deepseek-ocr-2"


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["compare", *words]) == 0
    return capsys.readouterr().out


def test_each_model_cuts_the_page_as_its_own_processor_does(tmp_path, capsys) -> None:
    Image.new("RGB", (2480, 3508)).save(tmp_path / "page.png")
    found = json.loads(printed(capsys, FIRST, "unlimited-ocr", "--page", str(tmp_path / "page.png"), "--json"))
    assert [(each["grid"], each["image_tokens"]) for each in found["models"]] == [("3x2", 903), ("6x4", 2733)]


def test_its_numbers_are_those_of_the_ledgers(capsys) -> None:
    found = json.loads(printed(capsys, FIRST, SECOND, "--page", "2x3", "--batch", "4", "--json"))["models"]
    for each in found:
        model, work = load_model(each["model"]), Workload("2x3", batch=4)
        vision, prefill, decode = (model.ledger(stage, work) for stage in ("vision", "prefill", "decode"))
        assert each["vision_flops"] == vision.total().tensor_flops
        assert each["prefill_flops"] == prefill.total().tensor_flops
        assert each["decode_flops"] * 100 * 4 == decode.total().tensor_flops
        assert each["weight_bytes"] == prefill.weight_bytes
        assert each["kv_cache_bytes"] == decode.kv_cache_bytes
        assert each["ttft_ns"] == prefill.estimate("h200").time_ns


def test_a_person_reads_how_much_more_the_second_has(capsys) -> None:
    text = printed(capsys, FIRST, SECOND, "--page", "3x2")
    rows = {line[:26].strip(): line.split() for line in text.splitlines()}
    assert rows["image tokens"][-4:] == ["903", "1,121", "+24.1", "%"]
    assert text.endswith("deepseek-ocr-2: wide: prefill: nobody calibrated an encoder with queries\n")


def test_engines_stand_side_by_side_as_many_as_are_named(capsys) -> None:
    text = printed(capsys, "engine:transformers", "engine:original", "engine:vllm", "--page", "2x3")
    rows = {line[:26].strip(): line[26:].split("  ") for line in text.splitlines()}
    assert [cell.strip() for cell in rows["grid"] if cell] == ["2x3", "2x3", "2x3"]
    assert "B than A" not in text
    assert printed(capsys, "engine:vllm", "engine:vllm", "--page", "2x3").count("no kernel of vllm") == 1
    (model,) = json.loads(printed(capsys, "engine:vllm", "engine:vllm", "--page", "2x3", "--json"))["models"][1:]
    assert model["prefill_flops"] == load_model(engine="vllm").ledger("prefill", Workload("2x3")).total().tensor_flops


def test_a_device_without_a_calibration_has_floors_alone(capsys) -> None:
    text = printed(capsys, FIRST, SECOND, "--page", "3x2", "--set", "device=mi300x")
    assert "pages/s at most" in text
    assert "time per token" not in text
    assert "no times: the device has no calibration; floors bound them" in text


def test_a_page_that_a_model_was_not_made_for_is_said(capsys) -> None:
    assert "deepseek-ocr-2: " in printed(capsys, FIRST, SECOND, "--page", "9x9").split("nobody calibrated")[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((FIRST, "deepsek-ocr-2"), "a side's model must be one of .*; did you mean 'deepseek-ocr-2'"),
        ((FIRST, "device:h100"), "a side's model must be one of "),
        ((FIRST, SECOND, "--resolution", "tiny"), "workload.resolution must be one of gundam, base: got 'tiny'"),
    ],
)
def test_what_is_no_model_or_page_is_one_line(words, message, capsys) -> None:
    assert main(["compare", *words, "--page", "1x1"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert re.search(message, err)


def test_more_sides_than_a_terminal_has_room_for_stand_in_tables_one_below_the_other(capsys, monkeypatch) -> None:
    names = (FIRST, SECOND, "unlimited-ocr", "glm-ocr", "paddleocr-vl")
    whole = printed(capsys, *names[:3], "--page", "1x1").splitlines()
    monkeypatch.setenv("COLUMNS", "80")
    narrow = printed(capsys, *names[:3], "--page", "1x1").splitlines()
    assert narrow == whole
    monkeypatch.setenv("COLUMNS", "50")
    split = printed(capsys, *names[:3], "--page", "1x1").splitlines()
    headings = [line.split() for line in split if line.startswith("   ")]
    assert headings == [[FIRST], [SECOND], ["unlimited-ocr"]]
    assert [line for line in split if line.startswith("weights")] == [
        f"weights, GB              {each:>{len(name)}}"
        for name, each in zip(names, ("6.67", "6.78", "6.67"), strict=False)
    ]


def test_a_page_on_all_models_is_what_the_docs_show(tmp_path, capsys, monkeypatch) -> None:
    Image.new("RGB", (1240, 1754)).save(tmp_path / "page.png")
    monkeypatch.chdir(tmp_path)
    out = printed(capsys, FIRST, SECOND, "unlimited-ocr", "glm-ocr", "paddleocr-vl", "--page", "page.png")
    shown = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    assert f"--page page.png\n{out}```" in shown


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            "compare deepseek-ocr glm-ocr --page 63x44",
            "--page 63x44 is of crops for some of these models",
        ),
        ("compare glm-ocr deepseek-ocr", "glm-ocr and deepseek-ocr: a grid is of crops for the one, and of tiles for"),
        ("compare baselines/glm-ocr deepseek-ocr", "is of tiles of a page at its own resolution, and the other model"),
        ("cost strip.png --model glm-ocr", "'strip.png': a page's longer side is at most 200 times the shorter, got"),
        (
            "cost 1x1000 --model glm-ocr",
            "no strip of tiles longer than 300 times its width, and 1x1000 is one: choose",
        ),
    ],
)
def test_crops_and_tiles_are_not_mixed_and_strips_refused(words, line, tmp_path, capsys, monkeypatch) -> None:
    (tmp_path / "baselines").symlink_to(Path(__file__).parents[2] / "baselines")
    Image.new("1", (10, 2001)).save(tmp_path / "strip.png")
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) == 2
    assert line in capsys.readouterr().err


def test_two_models_of_tiles_are_compared_at_the_grids_that_both_make(capsys) -> None:
    assert main(["compare", "glm-ocr", "paddleocr-vl", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["only_a"]
    assert found["only_b"] == []
    grids = {each["grid"] for each in found["changes"]}
    native = load_model("paddleocr-vl").architecture.tiling.native
    assert len(grids) > 10
    assert all(native.makes(*map(int, grid.split("x"))) for grid in grids)
