"""`ocrsweep completion`: bash really completes by its script; the others name every command and option."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pytest_ocrsweep import cli
from pytest_ocrsweep.cli import main

TAB = """
source "$1"; shift
eval "$(complete -p ocrsweep | sed -n 's/.*-F \\([^ ]*\\) .*/run=\\1/p')"
COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
"$run" ocrsweep "${COMP_WORDS[COMP_CWORD]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def completed(capsys, tmp_path: Path):
    """What a TAB after these words gives in bash."""
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "script.bash"
    script.write_text(capsys.readouterr().out)
    shell = shutil.which("bash")
    assert shell, "these tests need bash"

    def run(*words: str) -> list[str]:
        done = subprocess.run([shell, "--norc", "-c", TAB, "bash", script, "ocrsweep", *words], capture_output=True)
        assert done.stderr == b""
        return done.stdout.decode().split()

    return run


def test_bash_completes_commands_options_and_values(completed):
    assert completed("co") == ["cost", "compare", "completion"]
    assert completed("cost", "2x3", "--ba") == ["--batch"]
    assert completed("cost", "2x3", "--stage", "") == ["vision", "prefill", "decode"]
    assert completed("cost", "2x3", "--device", "h1") == ["h100", "h100-pcie"]
    assert completed("fits", "2x3", "--device", "rtx") == ["rtx-4090", "rtx-5090"]
    assert "deepseek-ocr-tiny" in completed("cost", "2x3", "--model", "deepseek-ocr-")
    assert completed("completion", "f") == ["fish"]
    assert completed("devices", "--ba") == []  # an option that is refused is not offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_command_is_in_every_script(capsys, shell):
    assert main(["completion", shell]) == 0
    out = capsys.readouterr().out
    assert [name for name in cli.COMMANDS if not re.search(rf"\b{name}\b", out)] == []
    assert re.search(r"\bh100-pcie\b", out)


def test_without_shtab_one_line_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "shtab", None)
    assert main(["completion", "bash"]) == 2
    assert capsys.readouterr().err.endswith("is not installed: pip install shtab\n")
