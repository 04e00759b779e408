"""`ocrsweep completion`: each shell that is installed really completes by its script."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import shells

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


AT_A_TERMINAL = {
    "ocrsweep completion f": ["completion", "fish"],
    "ocrsweep cost 2x3 --ba": ["cost", "2x3", "--batch"],
    "ocrsweep cost 2x3 --device mi": ["cost", "2x3", "--device", "mi300x"],
    "ocrsweep cost 2x3 --device=mi": ["cost", "2x3", "--device=mi300x"],
    "ocrsweep cost --stage=vision 2x3 --stage=p": ["cost", "--stage=vision", "2x3", "--stage=prefill"],
    "ocrsweep init --engine v": ["init", "--engine", "vllm"],
    "ocrsweep merge one pa": ["merge", "one", "part-2"],
    "ocrsweep gate --against main pa": ["gate", "--against", "main", "part-2"],
    "ocrsweep cost --config-dir=our": ["cost", "--config-dir=our-conf"],
}


@pytest.fixture
def scripts(capsys, tmp_path: Path, monkeypatch) -> Path:
    """A folder with each shell's script, and the working folder beside it."""
    (tmp_path / "here/our-conf").mkdir(parents=True)
    (tmp_path / "here/part-2").touch()
    monkeypatch.chdir(tmp_path / "here")
    for shell, name in (("bash", "script.bash"), ("zsh", "_ocrsweep"), ("fish", "ocrsweep.fish")):
        assert main(["completion", shell]) == 0
        (tmp_path / name).write_text(capsys.readouterr().out)
    return tmp_path


def needs(shell: str) -> None:
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")


@pytest.mark.parametrize("line", AT_A_TERMINAL)
@pytest.mark.parametrize(("shell", "name"), [("bash", "script.bash"), ("zsh", "_ocrsweep")])
def test_a_tab_at_a_terminal_completes_the_line(scripts, shell, name, line):
    needs(shell)
    words = shells.typed(shell, scripts / name, line)
    assert [word.removesuffix("/") for word in words] == AT_A_TERMINAL[line]  # zsh takes a last slash away


@pytest.mark.parametrize("load", ["source {script}", 'eval "$(cat {script})"'])
def test_zsh_takes_the_script_outside_its_path_too(scripts, load):
    needs("zsh")
    setup = f"autoload -Uz compinit; compinit -u -D; setopt no_beep; {load}"
    words = shells.typed("zsh", scripts / "_ocrsweep", "ocrsweep cost 2x3 --device=mi", setup)
    assert words == ["cost", "2x3", "--device=mi300x"]


@pytest.mark.parametrize("line", AT_A_TERMINAL)
def test_fish_completes_the_line(scripts, line):
    needs("fish")
    command = f"source {scripts / 'ocrsweep.fish'}; complete -C '{line}'"
    done = subprocess.run(["fish", "--no-config", "-c", command], capture_output=True, text=True)
    assert done.stderr == ""
    offered = [each.partition("\t")[0].removesuffix("/") for each in done.stdout.splitlines()]
    assert offered == [AT_A_TERMINAL[line][-1]]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_loads_its_script_without_a_word(scripts, shell):
    needs(shell)
    name = {"bash": "script.bash", "zsh": "_ocrsweep", "fish": "ocrsweep.fish"}[shell]
    before = "autoload -Uz compinit; compinit -u -D; " if shell == "zsh" else ""
    done = subprocess.run([shell, "-c", f"{before}source {scripts / name}"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
