"""A small project with the plugin, and the ways pytest may run it."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import walk_packages

import checkouts
import installed
import numpy  # noqa: F401  # a run inside a test forgets what it imported, and numpy cannot be loaded twice
import pytest
from checkouts import Checkout
from hypothesis import settings

SUITE = """
def test_{stage}(ocrsweep, grid, attention):
    ocrsweep.check("{stage}", grid, attention)
"""
WAYS = {
    "plain": [],
    "n0": ["-n0"],
    "n2": ["-n2"],
    "loadgroup": ["-n2", "--dist", "loadgroup"],
    "no-xdist": ["-p", "no:xdist"],
}
WITHOUT = ("randomly", "hypothesispytest", "hydra_pytest", "anyio")
QUICK_WAYS = ("plain",)  # `make test` has this one, `make slow` the others

# How many random cases a property is tried on: few in `make test`, many in `make slow`. No deadline: machines differ.
settings.register_profile("few", max_examples=20, deadline=None)
settings.register_profile("many", max_examples=200, deadline=None)
if settings.get_current_profile_name() in ("default", "ci"):  # dev/campaigns/mutants.py has loaded its own
    settings.load_profile("few")

REAL_ENGINE = "needs a real vLLM"  # what those tests' reason to be skipped begins with
# Torch's threads stand in each other's way where two workers share two cores: five times the CPU time.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A shell's job in the background ignores SIGINT, and hands that down: a Ctrl-C of a test would reach nobody.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

LONG = {"test_kills.py", "test_faults.py", "test_hosts.py", "test_journal.py", "test_blame.py"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Workers begin with what takes long: one that began it last would keep the others waiting."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.path.name not in LONG)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says that a run had no real engine: a number of skipped tests would hide it."""
    reasons = [report.longrepr[2] for report in terminalreporter.stats.get("skipped", ()) if len(report.longrepr) == 3]
    missing = [reason for reason in reasons if REAL_ENGINE in reason]
    if missing:
        terminalreporter.write_line(
            f"{len(missing)} tests of a real engine did not run: {missing[0].removeprefix('Skipped: ')}", yellow=True
        )


_installed = pytest.fixture(scope="session", autouse=True)(installed.read_once)


@pytest.fixture(autouse=True)
def _as_at_a_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run inside a test is not a worker or a job of CI's, even if the test runs in one, and Python buffers.

    Under CI pytest cuts no line of its summary: a test that reads the lines would find some twice.
    """
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID"):
        monkeypatch.delenv(name, raising=False)
    for name in ("CI", "BUILD_NUMBER", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "PY_COLORS"):  # tables have all columns, and no colours
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def pytester(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Its runs are without what only the tests themselves use: pytest-randomly would shuffle them, and Hypothesis
    imports all of itself at the end of each worker, which xdist then kills on a slow machine. The plugins of Hydra and
    anyio load Hydra and trio in each process: half of what it takes. `test_documented.py` runs with every plugin.
    """
    monkeypatch.setenv("PYTEST_ADDOPTS", " ".join(f"-p no:{plugin}" for plugin in WITHOUT))
    return pytester


@pytest.fixture(params=[name if name in QUICK_WAYS else pytest.param(name, marks=pytest.mark.slow) for name in WAYS])
def way(request: pytest.FixtureRequest) -> list[str]:
    """Arguments that must make no difference."""
    return WAYS[request.param]


class Project:
    """Two stages of three grids, in a folder of their own."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self._pytester = pytester
        self.path = pytester.path
        for stage in ("prefill", "decode"):
            self.write(f"suites/test_{stage}.py", SUITE.format(stage=stage))
        self.ini()

    def write(self, name: str, text: str) -> Path:
        path = self.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    def ini(self, *lines: str) -> None:
        self.write(
            "pytest.ini",
            "\n".join(["[pytest]", "ocrsweep_grids = 1x1,1x2,2x3", "ocrsweep_baselines = baselines", *lines]),
        )

    def run(self, *arguments: str) -> pytest.RunResult:
        return self._pytester.runpytest("-p", "no:cacheprovider", "-p", "no:benchmark", *arguments)

    def process(self, *arguments: str) -> pytest.RunResult:
        """A run of its own process, which may be changed from inside without a trace."""
        return self._pytester.runpytest_subprocess("-p", "no:cacheprovider", *arguments)

    def baseline(self, stage: str = "decode", model: str = "deepseek-ocr") -> Path:
        return self.path / "baselines" / model / f"{stage}.json"

    def edit(self, change: Callable[[list[dict[str, object]]], object], stage: str = "decode") -> None:
        """Change the recorded points of `stage` in place."""
        document = json.loads(self.baseline(stage).read_text())
        change(document["points"])
        self.baseline(stage).write_text(json.dumps(document))

    def record_once(self, kept: Path) -> None:
        """Record what it finds; or copy what an equal project recorded, which is `kept`."""
        if kept.exists():
            shutil.copytree(kept, self.path / "baselines")
        else:
            assert self.run("--ocrsweep-update").ret == 0
            shutil.copytree(self.path / "baselines", kept)

    def points(self, stage: str = "decode") -> list[tuple[str, str]]:
        found = json.loads(self.baseline(stage).read_text())["points"]
        return [(point["grid"], point["attention"]) for point in found]


@pytest.fixture(scope="session")
def _imported() -> None:
    """pytester forgets what a run imports: Hydra and our own modules take their time, and a second sqlite3 has errors
    of its own. So they are imported before.
    """
    from pytest_ocrsweep import load_model

    load_model(overrides=["workload.batch=2"])  # without an override it would not load Hydra
    for part in ("baselines", "files", "plugin", "report", "sweep"):
        package = import_module(f"pytest_ocrsweep.{part}")
        for module in walk_packages(package.__path__, f"{package.__name__}."):
            import_module(module.name)
    for name in ("numpy", "jinja2"):
        if find_spec(name):
            import_module(name)


@pytest.fixture
def project(pytester: pytest.Pytester, _imported: None) -> Project:
    """A project with nothing recorded."""
    return Project(pytester)


@pytest.fixture(scope="session")
def _updated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `recorded` keeps what its first run recorded."""
    return tmp_path_factory.mktemp("recorded") / "baselines"


@pytest.fixture
def recorded(project: Project, _updated: Path) -> Project:
    """A project whose baselines are what it finds."""
    project.record_once(_updated)
    return project


@pytest.fixture
def without_charts(monkeypatch: pytest.MonkeyPatch, _imported: None) -> None:
    """Reports of runs in this process, without what takes seconds to draw: for tests of the data in them."""
    from pytest_ocrsweep.report import files

    monkeypatch.setattr(files, "find_spec", lambda module: None)


@pytest.fixture
def checkout(tmp_path: Path, pytester: pytest.Pytester, _imported: None) -> Checkout:
    return Checkout(tmp_path / "here", pytester)


@pytest.fixture
def serve(checkout: Checkout) -> Iterator[Callable[..., list[str]]]:
    with checkouts.servers(checkout) as serve:
        yield serve
