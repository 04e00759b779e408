"""Workers of other hosts, through proxies: each in place, on the devices of its own host, for one verdict."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import namespaces
import pytest
from checkouts import ALONE, CONFTEST, COUNTED, POINTS, Checkout

from pytest_ocrsweep.sweep.engine_meter import EngineMeter
from pytest_ocrsweep.sweep.meter import Meter

SAME = "give every host the same project, baselines and packages"


def test_a_worker_of_a_host_runs_in_its_own_checkout_and_nothing_is_sent_there(checkout, serve) -> None:
    there = checkout.copy("there")
    before = sorted(there.path.rglob("*"))
    checkout.run("-d", *serve(folder=there.path), *COUNTED)
    assert {folder for _, _, folder, _ in checkout.ran} == {str(there.path)}
    assert [path for path in sorted(there.path.rglob("*")) if "__pycache__" not in str(path)] == before
    assert checkout.recorded() == len(POINTS)


def test_hosts_that_collect_otherwise_are_told_apart(checkout: Checkout, serve) -> None:
    there = checkout.copy("there")
    (there.path / "suites" / "test_decode.py").write_text("def test_other(ocrsweep): pass\n")
    told = checkout.run("-d", *serve(), *serve(folder=there.path), *COUNTED, code=4)
    here = socket.gethostname()
    more, fewer = "suites/test_decode.py::test_other", f"suites/test_decode.py::{POINTS[0]}"
    expected = (
        f"ERROR: gw1 on {here} collected 1 tests more ({more}) and 6 tests fewer ({fewer}) than gw0 on {here}: {SAME}",
        f"ERROR: gw0 on {here} collected 6 tests more ({fewer}) and 1 tests fewer ({more}) than gw1 on {here}: {SAME}",
    )
    assert any(line in told.splitlines() for line in expected)


def test_a_host_with_other_baselines_does_not_judge(checkout: Checkout, serve) -> None:
    there = checkout.copy("there")
    (there.path / "baselines" / "deepseek-ocr").mkdir(parents=True)
    (there.path / "baselines" / "deepseek-ocr" / "decode.json").write_text(
        '{"schema": 1, "model": "deepseek-ocr", "stage": "decode", "points": []}'
    )
    told = checkout.run("-d", *serve(folder=there.path), "--ocrsweep-analytic-only", code=4)
    assert f"ERROR: gw0 on {socket.gethostname()} has other baselines than the controller: {SAME}" in told


def test_a_host_that_is_not_there_is_one_line(checkout: Checkout) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        at = "{}:{}".format(*free.getsockname())
    told = checkout.run("-d", f"--px=id=it//socket={at}", "--tx=popen//via=it", *COUNTED, code=4)
    assert f"ERROR: --px id=it//socket={at}: no worker can be started there: Connection refused" in told
    told = checkout.run("-d", f"--tx=socket={at}", *COUNTED, code=4)
    assert f"ERROR: --tx socket={at}: no worker can be started there: Connection refused" in told


def test_a_host_to_which_pytest_xdist_would_send_the_project_is_one_line_with_the_remedy(checkout, serve) -> None:
    at = serve()[0].partition("//")[2]
    told = checkout.run("-d", f"--tx={at}//chdir={checkout.path}", *COUNTED, code=4)
    why = "arg suites/ not relative to an rsync root; start it through a proxy (--px), which sends nothing there"
    assert f"ERROR: --tx {at}//chdir={checkout.path}: no worker can be started there: {why}" in told


def test_an_interpreter_without_pytest_is_one_line(checkout: Checkout, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    spec = f"popen//python={tmp_path / 'bare' / 'bin' / 'python'}//chdir={tmp_path}"
    told = checkout.run("-d", f"--tx={spec}", "--override-ini=testpaths=suites", *COUNTED, code=4, paths=())
    assert f"ERROR: gw0 on {socket.gethostname()} ended before it had collected: ModuleNotFoundError" in told


needs_transformers = pytest.mark.skipif(not find_spec("transformers"), reason="needs the extra [vendor]")
needs_hosts = pytest.mark.skipif(bool(namespaces.why_not()), reason=f"hosts of one machine: {namespaces.why_not()}")
LANES = """
import os, socket
import pytest
from pytest_ocrsweep.plugin import xdist
from pytest_ocrsweep.plugin.xdist import worker

def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        xdist.register(config, alike=dict)

@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session):
    if hasattr(session.config, "workerinput"):
        kinds, devices = bytes([worker.Kind.TIMED] * len(session.items)), os.environ["GPUS"].split()
        worker.send(session.config, worker.Collected(kinds, len(devices)), devices)

@pytest.fixture(autouse=True)
def _told():
    with open(os.environ["TOLD"], "a") as file:
        print(socket.gethostname(), os.environ.get("CUDA_VISIBLE_DEVICES"), file=file)
"""


@needs_hosts
def test_each_host_times_on_as_many_workers_as_it_has_gpus(checkout: Checkout) -> None:
    (checkout.path / "conftest.py").write_text(LANES)
    (checkout.path / "suites" / "test_decode.py").write_text(
        "import pytest, time\n@pytest.mark.parametrize('n', range(12))\ndef test(n):\n    time.sleep(0.1)\n"
    )
    with namespaces.hosts(dict.fromkeys(("big", "small"), checkout.path)) as hosts:
        hosts["big"].serve(GPUS="4 5", TOLD=str(checkout.told), **ALONE)
        hosts["small"].serve(GPUS="0", TOLD=str(checkout.told), **ALONE)
        through = [f"--px=id={name}//socket={host.address}:{namespaces.PORT}" for name, host in hosts.items()]
        checkout.run("-d", *through, "--tx=3*popen//via=big", "--tx=popen//via=small", plugins=())
    ran = checkout.told.read_text().splitlines()
    assert len(ran) == 12
    assert set(ran) == {"big 4", "big 5", "small 0"}


# As if each host had a GPU of another name, and no time for samples.
NAMED_GPU = """
@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session):
    if hasattr(session.config, "workerinput"):
        from functools import partial
        from pytest_ocrsweep.baselines.sampling import TimeCap
        from pytest_ocrsweep.sweep.meter import Meter
        from pytest_ocrsweep.vendor_model import timing

        Meter.gpu = property(lambda self: self.vendor and os.environ["GPU"])
        timing.WARM_UP_S, timing.Vendor = 0.1, partial(timing.Vendor, rule=TimeCap(0.1))
"""
ON_CPU = [
    f"--ocrsweep-set={name}" for name in ("model=deepseek-ocr-tiny", "vendor.device=cpu", "workload.new_tokens=1")
]
# An engine that takes 30 ms to a first token and 2 ms a token, and needs no torch.
ENGINE = """
from pytest_ocrsweep.engines.about import About
from pytest_ocrsweep.engines.served import Request, ServedLoad
from pytest_ocrsweep.sweep.engine_meter import EngineMeter

MS = 10**6

class Engine:
    def about(self):
        return About("vllm", version="0.26.0", versions={"torch": "2.11.0"}, gpu=os.environ["GPU"])

    def run(self, load):
        tokens = load.image_tokens + len(load.prompt), load.new_tokens
        sent = [i * 300 * MS for i in range(load.pages)]
        answers = tuple(Request(at, at + 30 * MS, at + (28 + 2 * load.new_tokens) * MS, *tokens) for at in sent)
        return ServedLoad(load, answers, answers[-1].last_ns)

    def close(self):
        pass

EngineMeter._opened = lambda self: Engine()
"""


@pytest.fixture(autouse=True)
def nothing_stays(monkeypatch):
    """A project's conftest that runs in this process changes classes, for later tests too."""
    monkeypatch.setattr(EngineMeter, "_opened", EngineMeter._opened)
    monkeypatch.setattr(Meter, "gpu", Meter.__dict__["gpu"])


OF_ENGINE = [f"--ocrsweep-set={name}" for name in ("engine=vllm", "engine.python=/any", "engine.folder=/any")]


@needs_hosts
@pytest.mark.parametrize(
    ("measures", "settings", "recorded_as"),
    [
        pytest.param(
            *(NAMED_GPU, ON_CPU, "deepseek-ocr-tiny"),
            marks=[pytest.mark.slow, needs_transformers],
            id="reference model",
        ),
        pytest.param(ENGINE, OF_ENGINE, "deepseek-ocr/vllm", id="engine"),
    ],
)
def test_two_hosts_time_one_sweep_though_a_worker_is_killed(
    checkout: Checkout, measures, settings, recorded_as
) -> None:
    (checkout.path / "conftest.py").write_text(CONFTEST + measures)
    there = checkout.copy("there")
    with namespaces.hosts({"node1": checkout.path, "node2": there.path}) as hosts:
        for name, host in hosts.items():
            told = {"TOLD": str(checkout.told), "DIE": "test_decode[1x2-flash] 1"}
            host.serve(GPU=f"GPU of {name}", **ALONE, **told)
        through = [f"--px=id={name}//socket={host.address}:{namespaces.PORT}" for name, host in hosts.items()]
        workers = [f"--tx=popen//via={name}" for name in hosts]
        arguments = [*through, *workers, "-k", "flash", *settings, "--ocrsweep-update", "--ocrsweep-report=out"]
        told = checkout.run("-d", *arguments)
    assert re.search(r"3 passed, 1 retried in", told)
    document = json.loads((checkout.path / "out" / "sweep.json").read_text())
    on = {point["grid"]: (point["vendor"]["host"], point["vendor"]["gpu"]) for point in document["points"]}
    assert set(on) == {"1x1", "1x2", "2x3"}
    assert set(on.values()) == {("node1", "GPU of node1"), ("node2", "GPU of node2")}
    assert document["environment"]["host"] is None
    assert [each["host"] for each in document["environment"]["hosts"]] == ["node1", "node2"]
    assert "measured on node1: GPU of node1, " in told
    timed_by = {path.parent.name: path for path in checkout.path.glob(f"baselines/{recorded_as}/timed/*/decode.json")}
    for name in ("node1", "node2"):
        (environment,) = json.loads(timed_by.pop(f"gpu-of-{name}").read_text())["environments"]
        assert environment["host"] == name
    assert not timed_by
    assert not list(there.path.rglob("baselines"))
