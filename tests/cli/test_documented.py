"""What a page shows is what runs now: each block is run, or listed in `not_run.py` with its reason."""

from __future__ import annotations

import contextlib
import doctest
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import drifting
import not_run
import pages
import pytest
from pages import ROOT, Block, Command

from pytest_ocrsweep.cli import main, parser
from pytest_ocrsweep.plugin import options

LEFT_OUT = "..."
# Commands that only `make slow` runs, by a part of them: they draw charts, fit constants, or run on a model added.
SLOW = ("report", "merge", "compare before", "calibrate", "profile", "-n 2", "without", "small")
COPIED = ("suites", "baselines", "dev/profiles")  # what the pages' commands read
FAILS = (
    "pytest suites/test_decode.py -k",
    "ocrsweep import vllm-serve-busy.json",
    "ocrsweep compare",
    "diff ",
)  # by exit
TAKES = re.compile(
    r"(, \d+ (deselected|warnings?))* in [\d.]+s( \([\d:]+\))?$|\[gw\d\] \[ *\d+%\]|\[ *\d+%\]",
    re.MULTILINE,
)


def reason(block: Block) -> str | None:
    """Why no test runs the block."""
    listed = ((first, why) for (page, first), why in not_run.NOT_RUN.items() if page == block.page)
    return next((why for first, why in listed if block.first.startswith(first)), None)


def slow(command: Command) -> bool:
    return any(part in command.words for part in SLOW)


ALL = [block for page in pages.PAGES for block in pages.blocks(page)]
COMMANDS = [(block.page, command) for block in ALL if not reason(block) for command in block.commands]
QUICK = sorted({page for page, command in COMMANDS if not slow(command)})
WHOLE = sorted({page for page, command in COMMANDS if slow(command)})


def test_each_block_is_run_or_listed_with_its_reason() -> None:
    left = [f"{block.page}: {block.first}" for block in ALL if not (block.doctest or block.commands or reason(block))]
    assert left == []


def test_each_entry_of_the_list_names_a_block() -> None:
    unused = [key for key in not_run.NOT_RUN if not any(b.page == key[0] and b.first.startswith(key[1]) for b in ALL)]
    assert unused == []


@pytest.mark.parametrize("page", sorted({block.page for block in ALL if block.doctest}))
def test_the_python_of_a_page_prints_what_it_says(page: str) -> None:
    path = next(path for path in pages.PAGES if path.name == page)
    result = doctest.testfile(str(path), module_relative=False, verbose=False)
    assert result.attempted > 0
    assert result.failed == 0


def _lines() -> list[tuple[str, str]]:
    """Each line of a block that no test runs, which begins with one of our commands."""
    listed = [block for block in ALL if reason(block) in (not_run.GPU, not_run.ENGINE, not_run.HOSTS)]
    joined = [(block.page, block.text.replace("\\\n", " ")) for block in listed]
    return [
        (page, line.removeprefix("$ "))
        for page, text in joined
        for line in text.splitlines()
        if re.match(r"(\$ )?(ocrsweep|pytest) ", line)
    ]


@pytest.mark.parametrize(("page", "line"), [pytest.param(*each, id=f"{each[0]}: {each[1]}") for each in _lines()])
def test_a_command_that_is_not_run_has_options_that_exist(page: str, line: str) -> None:
    command, *words = shlex.split(line, comments=True)
    if command == "ocrsweep":
        parser().parse_args(words)
    else:
        assert {word.partition("=")[0] for word in words if word.startswith("--ocrsweep")} <= options.OPTIONS.keys()


@pytest.mark.parametrize("page", QUICK)
def test_a_page_shows_what_its_quick_commands_print(page: str, capsys, monkeypatch, tmp_path) -> None:
    _check(
        page, [command for of, command in COMMANDS if of == page and not slow(command)], capsys, monkeypatch, tmp_path
    )


@pytest.mark.long
@pytest.mark.parametrize("page", WHOLE)
def test_a_page_shows_what_all_its_commands_print(page: str, capsys, monkeypatch, tmp_path) -> None:
    _check(page, [command for of, command in COMMANDS if of == page], capsys, monkeypatch, tmp_path)


def _check(page: str, commands: list[Command], capsys, monkeypatch, folder: Path) -> None:
    """Runs them one after another in one folder, and fails with all that print something else."""
    monkeypatch.chdir(_folder(page, folder))
    for name, value in {"COUNT": "1", "KEY_0": "user.name", "VALUE_0": "Ada"}.items():
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    wrong = []
    for command in commands:
        code, out = _run(command, folder, capsys)
        if code and not command.words.startswith(FAILS):
            wrong.append(f"$ {command.words}\nexit code {code}\n{out}")
        elif not _shows(command, out):
            wrong.append(f"$ {command.words}\n{out}")
    if wrong:
        pytest.fail("\n".join(wrong), pytrace=False)


def _folder(page: str, folder: Path) -> Path:
    """A project such as the page's reader has."""
    (folder / "pytest.ini").touch()
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    if page == "cli.md":
        drifting.record(folder / "drifted/baselines")
        (folder / "drifted/pytest.ini").write_text("[pytest]\n")  # a project of its own
        for file in (ROOT / "tests/report/data/serving").glob("*.json"):
            shutil.copy(file, folder)
    if page == "hosts.md":
        for part, grids in enumerate(("1x1,1x2,1x3", "2x1,2x2,2x3")):  # of the page's array job
            main(["sweep", "--grids", grids, "--report", str(folder / f"report-{part}")])
    if page == "model.md":
        shutil.copytree(ROOT / "pytest_ocrsweep", folder / "pytest_ocrsweep")
        _patched(folder / "pytest_ocrsweep/conf/model/deepseek-ocr-tiny.yaml")
    return folder


def _patched(tiny: Path) -> None:
    """The model that docs/model.md adds, by the diff that it shows."""
    (shown,) = (block.text for block in ALL if block.page == "model.md" and block.first.startswith("$ diff"))
    text = tiny.read_text(encoding="utf-8")
    old, new = (re.findall(rf"^{side} (.*)\n", shown, re.MULTILINE) for side in "<>")
    for before, after in zip(old, new, strict=True):
        assert text.count(f"{before}\n") == 1
        text = text.replace(f"{before}\n", f"{after}\n")
    tiny.with_stem("deepseek-ocr-small").write_text(text, encoding="utf-8")


def _run(command: Command, folder: Path, capsys) -> tuple[int, str]:
    name, *words = shlex.split(command.words, comments=True)
    if name == "ocrsweep" and not (folder / "pytest_ocrsweep").exists():
        capsys.readouterr()
        with contextlib.chdir(folder / "drifted" if words[0] == "history" else folder):
            code = main(words)
        said = capsys.readouterr()
        return code, said.out if not code else said.out + said.err
    module = {"ocrsweep": ["-m", "pytest_ocrsweep"], "pytest": ["-m", "pytest"]}
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "CI", "GITHUB_"))}
    done = subprocess.run(
        [sys.executable, *module[name], *words] if name in module else [name, *words],
        cwd=folder,
        env=kept
        | {"PYTHONPATH": path, "PYTEST_ADDOPTS": "-p no:randomly", "COLUMNS": "80", "NO_COLOR": "1", "PYTHONUTF8": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=1800,
    )
    return done.returncode, done.stdout + done.stderr


def _shows(command: Command, out: str) -> bool:
    """Whether the page's lines are those printed; `...` stands for lines that it leaves out."""
    shown = [line.rstrip() for line in command.printed.strip().splitlines()]
    found = [line.rstrip() for line in out.strip().splitlines()]
    if not shown:
        return True
    if command.words.startswith("pytest "):  # workers take turns as they like, and a run says more than a page
        wanted, printed = (
            Counter(TAKES.sub("", line).strip() for line in lines if line != LEFT_OUT) for lines in (shown, found)
        )
        return wanted <= printed
    pattern = "".join("(.*\n)*?" if line.strip() == LEFT_OUT else f"{re.escape(line)}\n" for line in shown)
    return re.fullmatch(pattern, "\n".join(found) + "\n") is not None
