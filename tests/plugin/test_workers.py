"""Whatever starts the workers, one that runs without the plugin is named, and any `--dist` gives the same points."""

from __future__ import annotations

import os
import re
import socket
from types import SimpleNamespace

import pytest
from checkouts import COUNTED, POINTS, Checkout

from pytest_ocrsweep.plugin.xdist import worker

SAME = "give every host the same project, baselines and packages"
# As on a host where pytest-ocrsweep is not installed, but for its options.
WITHOUT = """
def pytest_configure(config):
    config.pluginmanager.unregister(name="ocrsweep")
"""


def test_two_workers_of_two_specs_share_the_points(checkout: Checkout) -> None:
    told = checkout.run("-d", "--tx=popen", "--tx=popen", *COUNTED)
    assert set(re.findall(r"\[(gw\d)\]", told)) == {"gw0", "gw1"}
    assert checkout.recorded() == len(POINTS)


@pytest.mark.parametrize(
    "dist",
    [
        "load",
        "loadscope",
        *(pytest.param(dist, marks=pytest.mark.slow) for dist in ("loadgroup", "loadfile", "worksteal")),
    ],
)
def test_a_dist_runs_each_point_once(checkout: Checkout, dist: str) -> None:
    checkout.run("-n2", f"--dist={dist}", *COUNTED)
    assert sorted(item for item, *_ in checkout.ran) == sorted(POINTS)
    assert checkout.recorded() == len(POINTS)


def test_dist_each_runs_each_point_on_each_worker(checkout: Checkout) -> None:
    told = checkout.run("--dist=each", "--tx=2*popen", *COUNTED)
    assert sorted(item for item, *_ in checkout.ran) == sorted(POINTS * 2)
    assert "12 passed" in told
    assert checkout.recorded() == len(POINTS)


def test_a_worker_without_the_plugin_among_others_ends_the_run_in_one_line(checkout: Checkout, serve) -> None:
    there = checkout.copy("there")
    (there.path / "conftest.py").write_text(WITHOUT)
    told = checkout.run("-d", *serve(), *serve(folder=there.path), *COUNTED, code=4)
    here = socket.gethostname()
    assert f"ERROR: gw1 on {here} runs without pytest-ocrsweep: {SAME}" in told


def test_a_worker_of_a_controller_without_the_plugin_keeps_its_gpus(monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    worker.send(SimpleNamespace(workerinput={}), worker.Collected(devices=2), ["0", "1"])
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"
