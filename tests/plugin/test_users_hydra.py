"""A user's own Hydra, in the process in which this package composes with Hydra too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

START = """
import hydra, warnings
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.core.utils import JobRuntime
from omegaconf import OmegaConf
from pytest_ocrsweep.sweep.config import compose

warnings.simplefilter("ignore")  # versions of Hydra differ in what they say of version_base
"""
INITIALISE = "hydra.initialize_config_dir(CONF, job_name='theirs')\n"


@pytest.fixture
def process(tmp_path: Path):
    """Runs Python in a process that has a Hydra configuration of the user's own in CONF."""
    (tmp_path / "theirs.yaml").write_text("answer: 42\n")

    def run(code: str) -> None:
        code = f"{START}CONF = {str(tmp_path)!r}\n{code}"
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    return run


def test_an_initialised_hydra_is_the_same_afterwards_and_composes(process) -> None:
    process(
        INITIALISE
        + "before = GlobalHydra.instance(), GlobalHydra.instance().hydra, JobRuntime.instance(), Plugins.instance()\n"
        "assert compose(['workload.batch=4']).workload.batch == 4\n"
        "after = GlobalHydra.instance(), GlobalHydra.instance().hydra, JobRuntime.instance(), Plugins.instance()\n"
        "assert all(one is other for one, other in zip(before, after, strict=True))\n"
        "assert not HydraConfig.initialized()\n"
        "assert JobRuntime.instance().get('name') == 'theirs'\n"
        "assert hydra.compose('theirs').answer == 42\n"
    )


def test_a_with_block_of_the_users_is_still_open_afterwards_and_closes(process) -> None:
    process(
        "with hydra.initialize_config_dir(CONF, job_name='theirs'):\n"
        "    compose(['workload.batch=4'])\n"
        "    assert hydra.compose('theirs').answer == 42\n"
        "assert not GlobalHydra.instance().is_initialized()\n"
    )


def test_a_config_store_that_the_user_holds_is_still_the_one_that_hydra_reads(process) -> None:
    process(
        "store = ConfigStore.instance()\n"
        "compose(['workload.batch=4'])\n"
        "store.store(name='stored', node={'answer': 43})\n"
        + INITIALISE
        + "assert hydra.compose('stored').answer == 43\n"
    )


def test_a_resolver_of_the_users_is_not_replaced_by_hydras_of_that_name(process) -> None:
    process(
        "OmegaConf.register_new_resolver('now', lambda _: 'noon')\n"
        "compose(['workload.batch=4'])\n"
        "assert OmegaConf.create({'time': '${now:x}'}).time == 'noon'\n"
    )


def test_a_singleton_class_of_the_users_keeps_its_instance(process) -> None:
    process(
        "class Theirs(metaclass=Singleton):\n"
        "    def __init__(self, needed):\n"
        "        self.needed = needed\n"
        "theirs = Theirs(1)\n"
        "compose(['workload.batch=4'])\n"
        "assert Theirs.instance() is theirs\n"
    )


def test_without_a_hydra_of_the_users_none_is_initialised_afterwards(process) -> None:
    process("compose(['workload.batch=4'])\nassert not GlobalHydra.instance().is_initialized()\n")


def test_an_override_that_is_refused_leaves_the_users_hydra_too(process) -> None:
    process(
        INITIALISE + "before = GlobalHydra.instance().hydra\n"
        "try:\n"
        "    compose(['workload.batch=none'])\n"
        "except ValueError:\n"
        "    assert GlobalHydra.instance().hydra is before\n"
        "else:\n"
        "    raise AssertionError\n"
    )


def test_threads_that_compose_at_once_each_get_their_own_settings(process) -> None:
    process(
        "from concurrent.futures import ThreadPoolExecutor\n" + INITIALISE + "before = GlobalHydra.instance().hydra\n"
        "batches = list(range(1, 13))\n"
        "with ThreadPoolExecutor(6) as pool:\n"
        "    settings = list(pool.map(lambda batch: compose([f'workload.batch={batch}']), batches))\n"
        "assert [each.workload.batch for each in settings] == batches\n"
        "assert GlobalHydra.instance().hydra is before\n"
        "assert hydra.compose('theirs').answer == 42\n"
    )


def test_no_warning_of_hydras_reaches_the_user(process) -> None:
    process("warnings.simplefilter('error')\ncompose(['workload.batch=4'])\n")
