"""The command that tries an engine by hand prints a row for each concurrency, or one line that says what is wrong."""

from __future__ import annotations

import errno
import json
import os
import re
import sys
from pathlib import Path

import pytest
from engines.runners import HELLO, done, failed
from engines.servers import answer, delta, serving, usage

from pytest_ocrsweep.engines import process
from pytest_ocrsweep.engines.__main__ import main
from pytest_ocrsweep.files.text import printable

MODEL = str(Path(__file__).with_name("model"))
PAGE = ("--page", "64x48", "--new-tokens", "3")
ABOUT = {"versions": {"version": "0.32.0"}, "weight_bytes": 1234, "kv_bytes_per_token": 4096, "kv_blocks": 8}


def rows(printed: str) -> list[list[str]]:
    return [line.split() for line in printed.splitlines()]


def test_a_server_gets_a_row_for_each_concurrency(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(answer(first_s=0.01, each_s=0.002)) as server:
        assert main(["--url", server.url, "--concurrency", "1,4", *PAGE]) == 0
    about, _, first, second = rows(capsys.readouterr().out)
    assert about == ["http", "(version", "unknown),", "tiny-ocr"]
    assert (first[:2], first[-2:]) == (["1", "8"], ["-", "283"])
    assert second[:2] == ["4", "16"]
    assert float(first[2]) >= 10
    assert float(first[4]) >= 2


def test_an_interpreter_gets_rows_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    requests = [[0, 5_000_000, 9_000_000, 300, 3]]
    served = {"requests": requests, "wall_ns": 10_000_000, "rendered_ns": [7_000_000], "energy_mj": 12_340}
    script = tmp_path / "script.py"
    script.write_text(HELLO + done({"started_s": 1.0}) + done({**ABOUT, "kv_block_tokens": 16}) + done(served))
    monkeypatch.setattr(process.Runner, "__init__", with_script(process.Runner.__init__, script))
    assert main(["--python", sys.executable, "--model", MODEL, "--pages", "1", *PAGE]) == 0
    about, headings, row = capsys.readouterr().out.splitlines()
    assert about == "vllm 0.32.0, weights 1,234 bytes, KV 4,096 bytes a token, 8 blocks of 16"
    assert re.split(" {2,}", headings.strip())[:4] == ["concurrency", "pages", "TTFT ms", "p99"]
    assert row.split() == ["1", "1", "5.00", "5.00", "2.00", "2.00", "100.00", "300.0", "7.0", "12.34", "300"]


def with_script(init, script):
    return lambda self, python, **others: init(self, python, script, **others)


def test_an_engine_that_fails_is_one_line_and_pytests_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--python", "/nowhere/python", "--model", MODEL]) == 4
    assert capsys.readouterr().err.startswith("ocrsweep: engine.python=/nowhere/python: cannot be started (No such")


def test_pages_that_were_done_before_a_fault_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    number = iter(range(99))

    def behave(handler, body):
        (answer() if next(number) < 6 else answer(last=[delta(content="x"), usage(2)]))(handler, body)

    with serving(behave) as server:
        assert main(["--url", server.url, *PAGE]) == 4
    error = capsys.readouterr().err
    assert "a request ended after 2 of 3 tokens" in error
    assert error.endswith("(8 pages were done before)\n")


def test_a_refused_load_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "script.py"
    script.write_text(HELLO + done({"started_s": 1.0}) + done(ABOUT) + failed("refused", "too long"))
    monkeypatch.setattr(process.Runner, "__init__", with_script(process.Runner.__init__, script))
    assert main(["--python", sys.executable, "--model", MODEL]) == 4
    assert "failed in 'run': too long; ask for less, or start the engine with" in capsys.readouterr().err


# The file of rows


def rows_of(path: Path) -> list[list[object]]:
    return [json.loads(line)["requests"] for line in path.read_text().splitlines()]


def test_rows_are_added_to_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rows.jsonl"
    with serving(answer()) as server:
        assert main(["--url", server.url, "--concurrency", "1,2", "--save", str(path), *PAGE]) == 0
        assert main(["--url", server.url, "--save", str(path), *PAGE]) == 0
    assert [len(each) for each in rows_of(path)] == [8, 8, 8]
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("nowhere/rows", "No such file or directory); name another file"),
        ("folder", "Is a directory); name another file"),
        ("file/rows", "Not a directory); move away what stands in its place"),
        ("nu\0l", "embedded null byte); name another file"),
        ("pipe", "it is no regular file); name another file"),
    ],
)
def test_a_file_that_can_hold_no_row_is_refused_before_anything_starts(
    name: str, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    with serving(answer()) as server:
        assert main(["--url", server.url, "--save", str(tmp_path / name), *PAGE]) == 4
        assert not server.bodies
    error = capsys.readouterr().err
    assert error == f"ocrsweep: {printable(str(tmp_path / name))}: no row can be saved there ({why}\n"


def test_a_row_is_not_glued_to_a_line_that_a_kill_has_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"tool": "pytest_ocrs')
    with serving(answer()) as server:
        assert main(["--url", server.url, "--concurrency", "1,2", "--save", str(path), *PAGE]) == 0
    assert "rows.jsonl: its last line has no end, as of a writer that was killed" in capsys.readouterr().err
    cut, *whole = path.read_text().splitlines()
    assert cut == '{"tool": "pytest_ocrs'
    assert [len(json.loads(line)["requests"]) for line in whole] == [8, 8]


def test_a_full_disk_is_one_line_and_leaves_whole_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("{}\n")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with serving(answer()) as server:
        assert main(["--url", server.url, "--save", str(path), *PAGE]) == 4
    assert "no row can be saved there (No space left on device); free some space there" in capsys.readouterr().err
    assert path.read_text() == "{}\n"


def test_the_log_is_not_written_over_the_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rows"
    path.write_text("{}\n")
    with pytest.raises(SystemExit) as caught:
        main(["--python", "p", "--model", "m", "--save", str(path), "--log", str(path)])
    assert caught.value.code == 4
    assert "--log and --save name one file" in capsys.readouterr().err
    assert path.read_text() == "{}\n"


@pytest.mark.parametrize(
    ("about", "run", "where"),
    [({"gpu": 7}, {}, "'about' with gpu"), ({}, {"requests": []}, "'run' with requests")],
)
def test_an_impossible_answer_is_one_line(
    about: dict[str, object],
    run: dict[str, object],
    where: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    script = tmp_path / "script.py"
    script.write_text(HELLO + done({"started_s": 1.0}) + done({**ABOUT, **about}) + done(run))
    monkeypatch.setattr(process.Runner, "__init__", with_script(process.Runner.__init__, script))
    assert main(["--python", sys.executable, "--model", MODEL]) == 4
    error = capsys.readouterr().err
    assert f"answered {where}: it must be " in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "one of the arguments --python --url is required"),
        (["--python", "p"], "--python needs --model DIR"),
        (
            ["--url", "u", "--pages", "3", "--concurrency", "1,4"],
            "--pages 3 are never 4 at once: give at least as many",
        ),
        (["--url", "u", "--page", "3"], "must be WIDTHxHEIGHT in pixels, as 1240x1754, got '3'"),
        (["--url", "u", "--page", "0x3"], "must be a whole number of at least 1, got '0'"),
        (["--url", "u", "--concurrency", "1,x"], "must be a whole number of at least 1, got 'x'"),
    ],
)
def test_a_wrong_argument_is_named(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 4
    assert line in capsys.readouterr().err
