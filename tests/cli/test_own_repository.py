"""The page for one's own repository: its files and its commands of `ocrsweep`, one after another in one folder."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from pytest_ocrsweep.cli import main

PAGE = (Path(__file__).parents[2] / "docs/own-repository.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_the_pages_files_and_commands_work(capsys, monkeypatch, tmp_path):
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    for language, text in BLOCK.findall(PAGE):
        if language == "yaml":
            path = Path(text.partition("\n")[0].removeprefix("# "))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    ran = {}
    for _, text in BLOCK.findall(PAGE):
        for line in text.splitlines():
            if line.startswith("ocrsweep ") and not line.startswith("ocrsweep: "):
                if line.startswith("ocrsweep init"):  # each begins a project of its own: other settings are refused
                    Path("pytest.ini").unlink(missing_ok=True)
                assert main(shlex.split(re.split(r"  +", line)[0])[1:]) == 0, line
                ran[line] = capsys.readouterr().out
    (cost,) = (out for line, out in ran.items() if line.startswith("ocrsweep cost"))
    assert cost.startswith("mine 2x3")
    assert "on NVIDIA Our GPU" in cost
    assert "wide, as it is scaled from NVIDIA H200" in cost
    assert "NVIDIA Our GPU" in ran["ocrsweep devices"]


def test_the_pages_message_is_what_is_said(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("conf/model").mkdir(parents=True)
    Path("conf/model/mine.yaml").write_text("defaults: [deepseek-ocr, _self_]\nname: mine\ndecoder: {layer: 6}\n")
    assert main(["cost", "2x3", "--set", "model=mine", "--config-dir", "conf"]) == 2
    assert f"  {capsys.readouterr().err}" in PAGE
