"""A grid of more crops than a model or an engine cuts a page into: every command says so in the same words."""

from __future__ import annotations

import pytest

from pytest_ocrsweep.cli import main

REFUSED = "vllm cuts a page into at most 6 crops, and 3x3 has 9: engine.most_crops=9 lifts the limit"
COMMANDS = {
    "cost": ["cost", "3x3"],
    "plan": ["plan", "3x3", "--device=h100"],
    "sweep": ["sweep", "--grids=1x1,3x3"],
    "init": ["init", "--grids=1x1,3x3"],
    "page": ["compare", "deepseek-ocr", "deepseek-ocr", "--page=3x3"],
    "model": ["compare", "deepseek-ocr", "deepseek-ocr", "--grids=3x3"],
    "device": ["compare", "device:h100", "device:h200", "--grids=3x3"],
}
NOTED = "beyond the 6 crops that deepseek-ocr-2 cuts a page into: 3x3, counted as if it did"
COUNTED = {
    "cost": ["cost", "3x3", "--stage=decode", "--model=deepseek-ocr-2"],
    "fits": ["fits", "3x3", "--device=h100", "--model=deepseek-ocr-2"],
    "size": ["size", "2x3,3x3", "--ttft=1", "--tpot=1", "--device=h100", "--model=deepseek-ocr-2"],
    "plan": ["plan", "3x3", "--device=h100", "--model=deepseek-ocr-2"],
    "page": ["compare", "deepseek-ocr", "deepseek-ocr-2", "--page=3x3"],
}


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_what_an_engine_never_cuts_is_refused_in_the_same_line(capsys, monkeypatch, tmp_path, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".git").mkdir()
    assert main([*words, "--engine=vllm"]) == 2
    assert capsys.readouterr().err == f"ocrsweep: {REFUSED}\n"
    assert [path.name for path in tmp_path.iterdir()] == [".git"]


@pytest.mark.parametrize("words", COUNTED.values(), ids=COUNTED)
def test_what_a_model_never_cuts_is_counted_and_said(capsys, words):
    main(words)
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.endswith(NOTED)]
    main([word.replace("3x3", "2x3") for word in words])
    assert "crops that" not in capsys.readouterr().out


def test_pytest_refuses_it_before_a_test_runs(project):
    for words in (["--ocrsweep-grids=3x3"], ["-o", "ocrsweep_grids=3x3"]):
        result = project.run("--ocrsweep-set=engine=vllm", *words)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([f"ERROR: {REFUSED} (--ocrsweep-grids chooses the grids)"])
