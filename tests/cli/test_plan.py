"""`ocrsweep plan`: its page, its table, its JSON, and one line for what cannot be."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pytest_ocrsweep.cli import main

KEYS = (
    *("pages_per_s", "ttft_ms", "tpot_ms", "max_concurrency", "dollars_per_million_pages", "joules_per_page"),
    *("host_cores", "bound"),
)


def test_one_page_on_one_device_is_a_page(capsys) -> None:
    asked = "3x2 --device h100 --engine vllm --concurrency 64 --new-tokens 100 --price 2.5"
    assert main(["plan", *asked.split()]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0] == "deepseek-ocr on vllm, 3x2: 64 in flight, 100 new tokens, on NVIDIA H100 80GB HBM3"
    for title in ("pages/s", "time to first token, ms", "time per token, ms", "dollars a million pages"):
        (line,) = [line for line in lines if line.startswith(f"{title} ")]
        assert line.endswith("estimated")
    assert "bound by vision: the vision tower's kernels" in lines


def test_json_has_every_number_with_its_interval_and_where_it_is_from(capsys) -> None:
    assert main(["plan", "3x2", "--device", "h100", "--engine", "vllm", "--json", "--price", "2"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(KEYS) <= found.keys()
    of = ("deepseek-ocr", "native", ["3x2"], 10)
    assert tuple(found[name] for name in ("model", "precision", "pages", "prompt_tokens")) == of
    for name, number in found["numbers"].items():
        if number is not None:
            assert number["low"] <= number["value"] <= number["high"]
            assert number["value"] == found[name]


def test_devices_and_modes_are_rows(capsys) -> None:
    assert main(["plan", "3x2:7", "1x1:3", "--engine", "vllm", "--concurrency", "32"]) == 0
    rows = capsys.readouterr().out.splitlines()[3:]
    assert len(rows) == 10
    assert main(["plan", "3x2", "--engine", "vllm", "--device", "h100", "--modes"]) == 0
    rows = capsys.readouterr().out.splitlines()[3:]
    assert [row.split()[1] for row in rows] == ["gundam", "tiny", "small", "base", "large", "gundam-m"]


def test_a_device_that_is_too_small_is_a_row_that_says_so(capsys) -> None:
    asked = ["plan", "1x1", "--engine", "vllm", "--set", "device.memory_bytes=6000000000", "--modes"]
    assert main(asked) == 0
    assert "has not the memory for one page on vllm" in capsys.readouterr().out


def test_who_limits_the_pages_in_flight_is_named(capsys) -> None:
    for tokens, why in (
        ("100", "1,024 such pages are in flight: vllm takes no more"),
        ("7000", "their KV caches fill"),
    ):
        assert main(["plan", "3x2", "--device", "h100", "--engine", "vllm", "--new-tokens", tokens]) == 0
        assert why in capsys.readouterr().out


def test_in_a_table_pages_beyond_the_models_positions_are_a_row_that_says_so(capsys) -> None:
    asked = "plan 3x2 --device h100 --engine vllm --new-tokens 7500 --modes"
    assert main(asked.split()) == 0
    rows = capsys.readouterr().out.splitlines()[3:]
    assert ["beyond the 8,192 positions" in row for row in rows] == [True, False, False, False, False, True]


def test_a_page_of_a_plan_lists_its_parts_in_lines_of_a_terminal(capsys) -> None:
    assert main(["plan", "3x2", "--device", "h100", "--engine", "vllm"]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("tokens", [1, 2])
def test_a_step_is_padded_only_if_there_is_a_decode_step(tokens: int, capsys) -> None:
    asked = f"plan 2x3 --device h100 --engine vllm --concurrency 17 --new-tokens {tokens}"
    assert main(asked.split()) == 0
    assert ("a decode step of 17 pages runs as one of 24" in capsys.readouterr().out) == (tokens > 1)


REFUSED = {
    "plan 3x2:1e308 1x1:1e308": "'3x2:1e308': a weight must be a number from 1e-30 to 1e+30, got '1e308'",
    **{
        f"plan 3x2 1x1 --device h100 --engine {engine} --new-tokens 7500": "beyond the 8,192 positions that "
        "deepseek-ocr was made for: decode of 3x2, 8,413 tokens a page; choose fewer tokens, or set "
        "model.decoder.max_positions"
        for engine in ("transformers", "vllm")
    },
    "plan 3x2 --new-tokens 5 --set workload.new_tokens=7": "--new-tokens 5 and --set workload.new_tokens=7 "
    "contradict each other: keep one",
    "plan 3x2 --set workload.batch=4": "workload.batch=4 says nothing of a plan: set --concurrency",
    "plan 3x3 --engine vllm": "vllm cuts a page into at most 6 crops, and 3x3 has 9: engine.most_crops=9 lifts the "
    "limit",
    "plan 3x2 --engine vllm --set engine.start.enforce_eager=true": "engine.start.enforce_eager=true: steps without "
    "CUDA graphs are not planned; leave it out",
    "plan 3x2 --set engine.start.encoder_graphs=true": "engine.start.encoder_graphs=true: transformers has no encoder "
    "graphs; leave it out",
    "plan 3x2 --cores 1": "--cores bounds nothing: how long transformers renders a page is not known; set "
    "engine.host.render_view_ns and engine.host.render_crop_ns",
    "plan 3x2:x": "'3x2:x': a weight must be a positive number, got 'x'",
    "plan 3x2 --engine vlm": "engine must be one of original, transformers, vllm: got 'vlm'; did you mean 'vllm'?",
    "plan nothing": "'nothing' is neither a grid (ROWSxCOLUMNS, as 2x3) nor the file of a page image",
    "plan 1x1 --device h100 --set device.memory_bytes=1": "--device and --set device.memory_bytes=1 exclude each "
    "other: keep one",
}


@pytest.mark.parametrize("asked", REFUSED)
def test_what_cannot_be_planned_is_one_line(asked: str, capsys) -> None:
    assert main(asked.split()) == 2
    assert capsys.readouterr().err == f"ocrsweep: {REFUSED[asked]}\n"


@pytest.mark.parametrize(
    "option", ["--concurrency=0", "--new-tokens=0", "--price=0", "--price=nan", "--price=1e308", "--cores=-1"]
)
def test_numbers_that_count_nothing_are_refused(option: str, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["plan", "1x1", option])
    assert stopped.value.code == 2
    assert f"argument {option.partition('=')[0]}: must be" in capsys.readouterr().err


SERVED = Path(__file__).parents[2] / "dev" / "profiles" / "served.jsonl"
OF_A_LOAD = ("plan", "3x2", "--engine", "vllm", "--device", "h200", "--concurrency", "8")


def test_measured_loads_make_the_host_of_the_plan(capsys, tmp_path) -> None:
    file = tmp_path / "loads.jsonl"
    file.write_text("".join(SERVED.read_text(encoding="utf-8").splitlines(keepends=True)[:1]), encoding="utf-8")
    assert main([*OF_A_LOAD, "--measured", str(file)]) == 0
    out = capsys.readouterr().out
    words = " ".join(out.split())
    assert re.search(
        r"host: launch_ns [\d,]+, step_ns [\d,]+, eager_step_ns [\d,]+, admission_ns [\d,]+, "
        r"upload_ns_per_mb [\d,]+ rendering",
        words,
    )
    assert "rendering took 2.02 times what the engine's file says" in words
    assert f"fitted to 1 load of {file}" in words
    measured = _pages_per_s(out)
    assert main([*OF_A_LOAD]) == 0
    assert _pages_per_s(capsys.readouterr().out) < measured  # that load was on a fast host


def _pages_per_s(out: str) -> float:
    return float(re.search(r"pages/s +([\d.]+)", out)[1])


def _changed(**fields: object) -> str:
    return json.dumps({**json.loads(SERVED.read_text(encoding="utf-8").splitlines()[0]), **fields})


MISFITS = {
    "another GPU": (
        _changed(gpu="NVIDIA L4"),
        "its GPU is 'NVIDIA L4', and that of the plan 'NVIDIA H200': choose another --device, or measure there",
    ),
    "no GPU": (
        _changed(gpu=None),
        "its GPU is 'not known', and that of the plan 'NVIDIA H200': choose another --device, or measure there",
    ),
    "another engine": (
        _changed(engine="sglang"),
        "its engine is 'sglang', and that of the plan 'vllm': choose another --engine, or measure there",
    ),
    "another page": (
        _changed(page="640x640x3"),
        "its page is '640x640x3': it must be WIDTHxHEIGHT",
    ),
    "no page": (_changed(page=None), "its page is 'not known': it must be WIDTHxHEIGHT"),
    "another model": (
        _changed(requests=[[0, 5, 10, 300, 100]], wall_ns=10, concurrency=1),
        "its prompts have 300 tokens, and the image of a page of 1240x1754 has 903 in deepseek-ocr on vllm: it is of "
        "another model or page",
    ),
    "no concurrency": (
        _changed(concurrency=None),
        "it has no time to first token, rate or concurrency: measure it anew",
    ),
    "none in flight": (_changed(concurrency=0), "concurrency must be from 1 to its 8 requests, got 0"),
    "more in flight than there are": (
        _changed(concurrency=9),
        "concurrency must be from 1 to its 8 requests, got 9",
    ),
    "times that no host explains": (
        _changed(requests=[[0, 10**12, 10**13, 913, 100]], wall_ns=10**13),
        "the load of 3x2, 1 in flight, 100 new tokens is ",
    ),
    "a smaller page": (
        _changed(page="640x640"),
        "its prompts have 913 tokens, and the image of a page of 640x640 has 273 in deepseek-ocr on vllm: it is of "
        "another model or page",
    ),
    "a wall clock of another load": (
        _changed(wall_ns=10**8),
        "wall_ns is 100,000,000, and from its first request to its last token are ",
    ),
    "rendering in another unit": (
        _changed(rendered_ns=[10**5]),
        "rendering took 0.000679 times what the engine's file says: rendered_ns is of another page",
    ),
    "graphs that are neither": (_changed(encoder_graphs="some"), "encoder_graphs must be true or false, got 'some'"),
    "no request": (_changed(requests=[]), "no request was answered: there is nothing to take"),
    "no JSON": ("{", "it is not JSON (column 2: Expecting property name enclosed in double quotes)"),
    "another tool": ("{}", "no tool that is known here wrote this"),
}


@pytest.mark.parametrize("what", MISFITS)
def test_a_load_that_is_not_the_plans_is_one_line(what: str, capsys, tmp_path) -> None:
    text, message = MISFITS[what]
    file = tmp_path / "loads.jsonl"
    file.write_text(text, encoding="utf-8")
    assert main([*OF_A_LOAD, "--measured", str(file)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"ocrsweep: {file}: {message}")


def test_loads_are_of_one_gpu(capsys) -> None:
    assert main(["plan", "3x2", "--engine", "vllm", "--measured", str(SERVED)]) == 2
    assert capsys.readouterr().err == "ocrsweep: --measured is of one GPU: choose it with --device\n"


def lines_of(capsys, *words: str) -> list[str]:
    assert main(["plan", "3x2", *words]) == 0
    return capsys.readouterr().out.splitlines()


def test_the_bytes_of_the_cache_limit_the_pages_in_flight(capsys) -> None:
    lines = lines_of(capsys, "--device", "h200", "--engine", "vllm", "--set", "engine.start.kv_cache_bytes=1000000000")
    assert "at most 15 such pages are in flight: their KV caches fill the memory" in lines


def test_a_plan_says_where_no_host_is_in_it_and_what_fills_the_memory(capsys) -> None:
    lines = lines_of(capsys, "--device", "h100")
    assert "at most 83 such pages are in flight: one prefill of them all fills the memory" in lines
    assert lines[-1] == "host: not known of transformers; planned as CUDA graphs, all pages as one batch"


def test_the_tower_is_named_by_what_takes_most_of_it(capsys) -> None:
    lines = lines_of(capsys, "--device", "l40s", "--engine", "vllm", "--concurrency", "64")
    assert "bound by vision: the vision tower's kernels" in lines
