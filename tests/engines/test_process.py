"""An engine's process ends with all that it started, whatever happens; each fault is one line with what to do."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from engines.runners import HELLO, NEXT, done, ends, failed, runs, write_engine

from pytest_ocrsweep.engines.about import About, StartOptions
from pytest_ocrsweep.engines.process import RUNNER, EngineProcess, Runner
from pytest_ocrsweep.engines.served import Load, Request, summary
from pytest_ocrsweep.errors import EngineError, EngineLost

MODEL = Path(__file__).with_name("model")
OPTIONS = StartOptions(MODEL)
LOAD = Load(16, 16, pages=2, new_tokens=3, warmup=0)
STARTED = done({"started_s": 1.5})
PYTHON = "engine.python="


@pytest.fixture
def runner(tmp_path: Path) -> Callable[..., Runner]:
    """A runner of our interpreter with this code for its script."""

    def make(code: str, **limits: Any) -> Runner:
        script = tmp_path / "script.py"
        script.write_text(code)
        return Runner(sys.executable, script, **limits)

    return make


def refused(runner: Runner, *, then: Callable[[EngineProcess], object] = lambda engine: engine.start(OPTIONS)) -> str:
    """The line of the error that ends an engine, after a look at its form."""
    with pytest.raises(EngineLost) as caught:
        then(EngineProcess(runner))
    assert str(caught.value).isprintable()
    assert caught.value.hint
    assert str(caught.value).startswith(PYTHON)
    return str(caught.value)


def served(rows: object) -> str:
    return done({"requests": rows, "wall_ns": 100, "rendered_ns": [4, 6], "energy_mj": 20})


ROWS = [[1, 5, 9, 300, 3], [2, 6, 10, 300, 3]]


# What is measured


def test_a_load_has_what_the_runner_measured(runner: Callable[..., Runner]) -> None:
    with EngineProcess(runner(HELLO + STARTED + served(ROWS))) as engine:
        engine.start(OPTIONS)
        run = engine.run(LOAD)
    assert run.requests == (Request(1, 5, 9, 300, 3), Request(2, 6, 10, 300, 3))
    assert (run.wall_ns, run.rendered_ns, run.started_s, run.load) == (100, (4, 6), 1.5, LOAD)
    assert (run.energy_mj, summary(run).energy_mj_per_page) == (20, 10)


def test_an_engine_says_of_itself_what_it_knows(runner: Callable[..., Runner]) -> None:
    value = {"versions": {"version": "0.32.0", "torch": "2"}, "captured_batches": [1, 2], "kv_blocks": 8, "gpu": None}
    with EngineProcess(runner(HELLO + done(value))) as engine:
        about = engine.about()
    assert about == About("vllm", "0.32.0", versions={"torch": "2"}, captured_batches=(1, 2), kv_blocks=8)
    assert about.weight_bytes is None


@pytest.mark.parametrize("rows", [[[1, 5, 9, 12, 3]], [[1, 5, 9, 300, 2]]], ids=["no image", "fewer tokens"])
def test_a_run_that_is_not_the_load_is_refused(rows: list[list[int]], runner: Callable[..., Runner]) -> None:
    with EngineProcess(runner(HELLO + served([*rows, ROWS[1]]))) as engine, pytest.raises(EngineError) as caught:
        engine.run(LOAD)
    assert type(caught.value) is EngineError
    assert len(caught.value.requests) == 2


def test_an_engine_goes_on_after_a_load_that_it_refuses(runner: Callable[..., Runner]) -> None:
    with EngineProcess(runner(HELLO + failed("refused", "too long\x1b") + served(ROWS))) as engine:
        with pytest.raises(EngineError, match=r"failed in 'run': too long\\x1b; ask for less") as caught:
            engine.run(LOAD)
        assert type(caught.value) is EngineError
        assert len(engine.run(LOAD).requests) == 2


# Programs that are no engine


def test_a_missing_interpreter_is_named() -> None:
    line = f"{PYTHON}/nowhere/python: cannot be started (No such file or directory); give the path of a Python"
    assert refused(Runner("/nowhere/python")).startswith(line)


def test_a_file_that_nobody_may_run_is_named(tmp_path: Path) -> None:
    file = tmp_path / "python"
    file.touch(stat.S_IRUSR)
    assert "cannot be started (Permission denied)" in refused(Runner(str(file)))
    assert "cannot be started (Permission denied)" in refused(Runner(str(tmp_path)))


def test_a_file_that_is_no_program_is_named(tmp_path: Path) -> None:
    file = tmp_path / "python"
    file.write_bytes(b"\0\1\2")
    file.chmod(0o755)
    assert "cannot be started (Exec format error)" in refused(Runner(str(file)))


def test_a_path_that_cannot_be_one_is_refused() -> None:
    assert "cannot be started (embedded null byte)" in refused(Runner("py\0thon"))


@pytest.mark.parametrize("program", ["true", "echo", "cat", "false"])
def test_a_program_that_is_no_python_is_named(program: str) -> None:
    assert "is no Python that runs our script: " in refused(Runner(f"/bin/{program}"))


@pytest.mark.parametrize(
    ("code", "line"),
    [
        (
            "raise SystemExit('Traceback\\nOSError: no space\\nbye')",
            "exit code 1, its log ends with: OSError: no space;",
        ),
        ("import sys; sys.exit(3)", "exit code 3, its log is empty;"),
        ("print('hello')", "it printed 'hello';"),
        ("print('[1]')", "it printed '[1]';"),
        ("print('[' * 100_000)", "it printed '[[[["),
        ("print('\\x1b[2J')", r"it printed '\\x1b[2J';"),
    ],
)
def test_a_script_that_does_not_begin_as_ours_is_named(code: str, line: str, runner: Callable[..., Runner]) -> None:
    assert f"is no Python that runs our script: {line}" in refused(runner(code))


def test_another_protocol_is_named(runner: Callable[..., Runner]) -> None:
    text = refused(runner('print(\'{"protocol": "3\\\\u001b"}\')'))
    assert r"its script has protocol '3\x1b', and this needs 2; two versions of this project are mixed" in text


def test_an_interpreter_without_the_engine_gets_the_command_that_installs_it() -> None:
    line = refused(Runner(sys.executable))
    assert line.endswith(f"has no vLLM (PYTHONPATH is not passed on to it); {sys.executable} -m pip install vllm")


def test_an_interpreter_that_says_nothing_is_given_up(runner: Callable[..., Runner]) -> None:
    line = refused(runner("import time; time.sleep(60)", hello_s=0.3))
    assert "took more than 0.3 s to run our script, its log is empty; give it more time" in line


@pytest.mark.parametrize("model", ["nowhere\x1b", "script.py"])
def test_a_model_that_is_no_folder_of_one_is_named(model: str, tmp_path: Path, runner: Callable[..., Runner]) -> None:
    with pytest.raises(EngineLost, match=r"has no config\.json; give the folder of a model") as caught:
        EngineProcess(runner(HELLO + STARTED)).start(StartOptions(tmp_path / model))
    assert str(caught.value).isprintable()


# Engines that fail


LATE = {"start_s": 0.3, "answer_s": 0.3}
FAULTS = {
    "dies": (
        "raise RuntimeError('no GPU\\x1b')",
        r"died in 'start': exit code 1, its log ends with: RuntimeError: no GPU",
    ),
    "killed": (
        "os.kill(os.getpid(), 9)",
        "died in 'start': it was killed (signal 9), as Linux does when memory runs out",
    ),
    "crashes": ("os.kill(os.getpid(), 11)", "died in 'start': signal 11, its log is empty; look into its whole log"),
    "exits": ("os._exit(0)", "died in 'start': exit code 0, its log is empty;"),
    "no stdout": ("os.close(1); time.sleep(60)", "died in 'start': it closed its stdout, its log is empty;"),
    "late": ("time.sleep(60)", "took more than 0.3 s to answer 'start', its log is empty; give it more time"),
    "no JSON": ("print('garbage\\x1b')", r"answered 'start' with 'garbage\\x1b'; see that nothing else writes to its"),
    "a number": ("print(1)", "answered 'start' with '1';"),
    "no answer": ("print({})", "answered 'start' with '{}';"),
    "no time": ('print(\'{"done": {"started_s": "x"}}\')', "answered 'start' with "),
    "deep": ("print('[' * 100_000)", "answered 'start' with '[[["),
    "no end": ("print('x' * (17 << 20), end='', flush=True); time.sleep(60)", "answered 'start' with 'xxx"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_one_line_with_what_to_do(name: str, runner: Callable[..., Runner]) -> None:
    code, line = FAULTS[name]
    assert line in refused(runner(HELLO + NEXT + code, **(LATE if name == "late" else {})))


KINDS = {
    "memory": "ran out of memory in 'start': OutOfMemoryError: 80 GiB; start it with a lower max_num_seqs",
    "engine": "failed in 'start': OutOfMemoryError: 80 GiB; look into its whole log",
    "version": f"failed in 'start': OutOfMemoryError: 80 GiB; install a later one there: {sys.executable} -m pip",
    "\x1b": "failed in 'start': OutOfMemoryError: 80 GiB; look into its whole log",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_failure_of_each_kind_has_its_remedy(kind: str, runner: Callable[..., Runner]) -> None:
    assert KINDS[kind] in refused(runner(HELLO + failed(kind, "OutOfMemoryError: 80 GiB")))


@pytest.mark.parametrize("rows", [[[1, 2, 3]], [["1", 5, 9, 300, 3]], [[1.5, 5, 9, 300, 3]], "x", [None], None])
def test_rows_that_are_no_requests_are_garbage(rows: object, runner: Callable[..., Runner]) -> None:
    assert "answered 'run' with " in refused(runner(HELLO + served(rows)), then=lambda engine: engine.run(LOAD))


GOOD = {"requests": ROWS, "wall_ns": 100, "rendered_ns": [4, 6], "energy_mj": 20, "host_ns": [7, 8]}
DAY = 86_400 * 10**9
IMPOSSIBLE_RUNS = {
    "requests": ([], [ROWS[0]], [*ROWS, ROWS[0]], None, {}),
    "requests[1]": tuple(
        [ROWS[0], each]
        for each in (
            [6, 6, 10, 300, 3],  # no time to the first token
            [6, 5, 10, 300, 3],
            [2, 6, 5, 300, 3],
            [2, 6, 3 * DAY, 300, 3],
            [2, 6, 10, -300, 3],
            [2, 6, 10, 300, -3],
            [2, 6, 10, 300, True],
            [2, 6, 10, 10**40, 3],
            [2, 6, 10, 300],
            "26",
        )
    ),
    "wall_ns": (0, -1, 8, 10**40, "9", 100.0, None, True, [100]),
    "rendered_ns": (None, 7, "7"),
    "rendered_ns[1]": ([4, -6], [4, 6.5], [4, None]),
    "energy_mj": (-1, 2.5, "20", [20], 10**40),
    "host_ns": ([], [100], [1, 2, 3], "ab", 5, {}),
    "host_ns[0]": ([-5, 100], [0, 100], ["100", 100], [1.5, 2]),
}
IMPOSSIBLE_ABOUTS = {
    "gpu": (7, [], "x" * 201),
    "model": (7,),
    "attention": (["FLASH"],),
    "versions": ([], "0.32.0"),
    "versions.torch": ({"torch": 2.11},),
    "weight_bytes": ("6 GB", 0, -1, 1.5, True, 10**40),
    "kv_blocks": (-1, "8"),
    "captured_batches": (8, "8"),
    "captured_batches[0]": ([0], ["1"]),
    "max_model_len": ({}, 0),
    "encoder_graphs": ("true", 1),
    "host_ns": (100, None),
    "host_ns[1]": ([100, 0], [100, "100"]),
}


def cases(of: dict[str, tuple[object, ...]]) -> list[tuple[str, object]]:
    return [(where, value) for where, values in of.items() for value in values]


@pytest.mark.parametrize(("where", "value"), cases(IMPOSSIBLE_RUNS))
def test_a_load_with_an_impossible_value_is_one_line(where: str, value: object, runner: Callable[..., Runner]) -> None:
    answer = done({**GOOD, where.partition("[")[0]: value})
    line = refused(runner(HELLO + answer), then=lambda engine: engine.run(LOAD))
    assert f"answered 'run' with {where}: it must be " in line
    assert line.endswith("; try another version of the engine, and report this with its version and ours")


@pytest.mark.parametrize(("where", "value"), cases(IMPOSSIBLE_ABOUTS))
def test_an_engine_that_says_an_impossible_value_of_itself_is_one_line(
    where: str, value: object, runner: Callable[..., Runner]
) -> None:
    answer = done({where.partition("[")[0].partition(".")[0]: value})
    line = refused(runner(HELLO + answer), then=EngineProcess.about)
    assert f"answered 'about' with {where}: it must be " in line


@pytest.mark.parametrize("seconds", ["NaN", "Infinity", "-1", "true", "null", "[]", "1e99", str(10**400)])
def test_a_start_that_took_no_time_that_can_be_is_one_line(seconds: str, runner: Callable[..., Runner]) -> None:
    code = f'print(\'{{"done": {{"started_s": {seconds}}}}}\', flush=True)'
    assert "answered 'start' with started_s: it must be seconds, a " in refused(runner(HELLO + NEXT + code))


def test_a_load_may_say_how_fast_its_host_is(runner: Callable[..., Runner]) -> None:
    with EngineProcess(runner(HELLO + done(GOOD) + done({**GOOD, "host_ns": None, "energy_mj": None}))) as engine:
        assert (engine.run(LOAD).host_ns, engine.run(LOAD).host_ns) == ((7, 8), ())


def test_an_engine_that_is_closed_answers_by_a_line(runner: Callable[..., Runner]) -> None:
    def late(engine: EngineProcess) -> None:
        engine.close()
        engine.close()
        engine.start(OPTIONS)

    assert refused(runner(HELLO + STARTED), then=late).endswith("is closed; start another")


def test_the_log_goes_into_a_file_whole(tmp_path: Path, runner: Callable[..., Runner]) -> None:
    log = tmp_path / "log"
    code = HELLO + "for n in range(1000): print('line', n, file=sys.stderr)\n" + NEXT + "raise ValueError('end')"
    refused(replace(runner(code), log=log))
    lines = log.read_text().splitlines()
    assert lines[:2] == ["line 0", "line 1"]
    assert lines[-1] == "ValueError: end"


def test_a_log_that_cannot_be_written_is_named(tmp_path: Path, runner: Callable[..., Runner]) -> None:
    with pytest.raises(EngineLost) as caught:
        EngineProcess(replace(runner(HELLO), log=tmp_path))
    assert str(caught.value) == f"{tmp_path}: the log cannot be written (Is a directory); name another file"


def test_a_full_disk_does_not_stop_an_engine(runner: Callable[..., Runner]) -> None:
    code = HELLO + "print('x' * 200_000, file=sys.stderr)\n" + STARTED
    with EngineProcess(replace(runner(code), log=Path("/dev/full"))) as engine:
        engine.start(OPTIONS)


def test_an_engine_that_does_not_read_is_given_up(runner: Callable[..., Runner]) -> None:
    """Its pipe holds less than a command."""
    made = runner(HELLO + "time.sleep(60)", answer_s=0.5)
    load = Load(640, 640, pages=4, warmup=0)
    assert "took more than 0.5 s to answer 'run'" in refused(made, then=lambda engine: engine.run(load))


# Nothing stays


FORKING = "child = __import__('subprocess').Popen(['sleep', '1000'])\n"


def pids(runner: Runner, code: str) -> tuple[Runner, Path]:
    """The runner with code that starts a further process first, and the file of both numbers."""
    file = runner.script.with_name("pids")
    runner.script.write_text(
        f"{FORKING}import os; open({str(file)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n{code}"
    )
    return runner, file


def both(file: Path) -> list[int]:
    return [int(each) for each in file.read_text().split()]


@pytest.mark.parametrize("name", ["dies", "killed", "late", "no JSON", "exits", "no end"])
def test_nothing_stays_of_an_engine_that_failed(name: str, runner: Callable[..., Runner]) -> None:
    limits = LATE if name == "late" else {}
    made, file = pids(runner("", **limits), HELLO + NEXT + FAULTS[name][0])
    refused(made)
    assert [ends(pid) for pid in both(file)] == [True, True]


def test_nothing_stays_of_an_engine_that_is_closed_or_forgotten(runner: Callable[..., Runner]) -> None:
    for leave in (EngineProcess.close, lambda engine: None):
        made, file = pids(runner(""), HELLO + NEXT)
        engine: EngineProcess | None = EngineProcess(made)
        assert [runs(pid) for pid in both(file)] == [True, True]
        leave(engine)
        engine = None
        assert [ends(pid) for pid in both(file)] == [True, True]


def test_ctrl_c_ends_the_engine(runner: Callable[..., Runner]) -> None:
    made, file = pids(runner(""), HELLO + NEXT + "time.sleep(60)")
    threading.Timer(0.5, signal.raise_signal, [signal.SIGINT]).start()
    engine = EngineProcess(made)
    with pytest.raises(KeyboardInterrupt):
        engine.start(OPTIONS)
    assert [ends(pid) for pid in both(file)] == [True, True]


STARTING = """
import sys
from pathlib import Path
from pytest_ocrsweep.engines.about import StartOptions
from pytest_ocrsweep.engines.process import EngineProcess, Runner
EngineProcess(Runner(sys.executable, environment={{"PYTHONPATH": {path!r}}})).start(StartOptions(Path({model!r})))
"""
HANGING = """
import os, subprocess, time
def LLM(**_):
    child = subprocess.Popen(["sleep", "1000"])
    open({file!r}, "w").write(f"{{os.getpid()}} {{child.pid}}")
    os.replace({file!r}, {file!r} + "s")
    time.sleep(1000)
"""
WITHOUT_DUMMY = "def register_model_loader(name): return lambda loader: loader\nclass DummyModelLoader: pass\n"


def stub(folder: Path, code: str, version: str = "0.32.0") -> dict[str, str]:
    """A vLLM whose LLM is this code."""
    environment = write_engine(folder, code, version)
    loader = folder / "vllm" / "model_executor" / "model_loader"
    loader.mkdir(parents=True)
    loader.with_name("__init__.py").touch()
    (loader / "__init__.py").write_text(WITHOUT_DUMMY)
    return environment


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_engine_does_not_outlive_the_process_that_started_it(number: int, tmp_path: Path) -> None:
    environment = stub(tmp_path / "site", HANGING.format(file=str(tmp_path / "pid")))
    ours = subprocess.Popen(
        [sys.executable, "-c", STARTING.format(path=environment["PYTHONPATH"], model=str(MODEL))],
        stderr=subprocess.DEVNULL,
    )
    file = tmp_path / "pids"
    until = time.monotonic() + 30
    while not file.exists():
        assert time.monotonic() < until
        assert ours.poll() is None
        time.sleep(0.05)
    numbers = both(file)
    assert [runs(pid) for pid in numbers] == [True, True]
    ours.send_signal(number)
    ours.wait(10)
    assert [ends(pid) for pid in numbers] == [True, True]


# The runner's own end of the pipe, with a vLLM of a few lines


def with_stub(tmp_path: Path, code: str, version: str = "0.32.0") -> Runner:
    return Runner(sys.executable, environment=stub(tmp_path / "site", code, version))


def test_a_version_that_is_too_old_is_refused_before_it_loads(tmp_path: Path) -> None:
    line = refused(with_stub(tmp_path, "raise ImportError", "0.11.2"))
    assert "failed in 'start': vLLM 0.11.2 is older than 0.26; install a later one there: " in line


def test_what_the_engine_prints_is_no_answer(tmp_path: Path) -> None:
    code = "import os\nprint('loading')\nos.system('echo from a process')\ndef LLM(**_): print('started')\n"
    with EngineProcess(with_stub(tmp_path, code)) as engine:
        engine.start(OPTIONS)


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("import no_such_module", "failed in 'start': ModuleNotFoundError: No module named 'no_such_module'"),
        ("def LLM(**_): raise ValueError('1 validation error\\n  max_model_len')", "1 validation error max_model_len;"),
        (
            "def LLM(**_): raise RuntimeError('CUDA out of memory. Tried 2 GiB')",
            "ran out of memory in 'start': Runtime",
        ),
        ("def LLM(**_): raise MemoryError", "ran out of memory in 'start': MemoryError"),
        ("def LLM(**_): raise SystemExit(3)", "failed in 'start': SystemExit: 3"),
        ("def LLM(**_): import os; os._exit(7)", "died in 'start': exit code 7"),
    ],
)
def test_an_engine_that_does_not_start_says_why(code: str, line: str, tmp_path: Path) -> None:
    assert line in refused(with_stub(tmp_path, code))


def test_an_engine_that_is_not_started_refuses_a_load(tmp_path: Path) -> None:
    with EngineProcess(with_stub(tmp_path, "")) as engine:
        with pytest.raises(EngineError, match="failed in 'run': the engine is not started"):
            engine.run(LOAD)
        with pytest.raises(EngineError, match="failed in 'about': the engine is not started"):
            engine.about()


def test_a_script_may_set_what_the_interpreter_needs(tmp_path: Path) -> None:
    """As docs/engines.md has it."""
    environment = stub(tmp_path / "site", "def LLM(**_): pass")
    wrapper = tmp_path / "python"
    wrapper.write_text(f'#!/bin/sh\nPYTHONPATH={environment["PYTHONPATH"]} exec {sys.executable} "$@"\n')
    wrapper.chmod(0o755)
    with EngineProcess(Runner(str(wrapper))) as engine:
        engine.start(OPTIONS)


def test_nothing_of_ours_is_in_the_engines_way(tmp_path: Path) -> None:
    code = "import http, http.client, sys\ndef LLM(**_): raise RuntimeError(repr(sorted(sys.path[:2])) + http.__file__)"
    line = refused(with_stub(tmp_path, code))
    assert str(RUNNER.parent) not in line
    assert str(tmp_path / "site") in line


def test_our_own_pythonpath_is_not_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = [stub(tmp_path / "site", "")["PYTHONPATH"], os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(ours))
    assert "has no vLLM" in refused(Runner(sys.executable))
