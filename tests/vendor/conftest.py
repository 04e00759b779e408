"""What every test of the reference model shares."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import forked
import pytest
from filelock import FileLock
from measured import ON_CPU, ONE_THREAD, SUITE, Measured

from pytest_ocrsweep.baselines.sampling import TimeCap
from pytest_ocrsweep.model.stages import STAGES

if TYPE_CHECKING:
    import torch


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Torch's threads stand in each other's way on a busy machine."""
    torch = pytest.importorskip("torch", reason="the reference model needs the extra [vendor]")
    # pytester forgets the modules that a run in this process loads, or a fixture beside it: operators are registered
    # once a process, and what fixtures change must be what a run reads.
    for name in ("baselines.gate", "vendor_model.fused_attention", "vendor_model.slowed", "vendor_model.timing"):
        import_module(f"pytest_ocrsweep.{name}")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# Measured points


@pytest.fixture(scope="session")
def recording(request, tmp_path_factory) -> Path:
    """A folder in which a process has recorded and reported every stage, one for all workers."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if hasattr(request.config, "workerinput") else own
    folder = shared / "recording"
    with FileLock(shared / "recording.lock"):
        if not (folder / "out" / "sweep.json").exists():
            record(folder)
    return folder


def record(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for stage in STAGES:
        (folder / f"test_{stage}.py").write_text(SUITE.format(stage=stage))
    (folder / "pytest.ini").write_text("[pytest]\n")
    arguments = ["-p", "no:cacheprovider", "-p", "no:benchmark", "-p", "briefly", *ON_CPU]
    arguments += ["-k", "flash", "--ocrsweep-update", "--ocrsweep-report=out"]
    code = forked.run(folder, *arguments, environment={**ONE_THREAD, "TMPDIR": str(folder)})
    assert code == 0, (folder / "printed.txt").read_text()


@pytest.fixture(scope="session")
def report(recording) -> dict[str, object]:
    """What it wrote into `sweep.json`."""
    return json.loads((recording / "out" / "sweep.json").read_text())


@pytest.fixture
def alone(tmp_path_factory, monkeypatch) -> None:
    """One thread, and locks of its own, for this process and the ones it starts; here, short sampling too."""
    from pytest_ocrsweep.vendor_model import timing

    folder = tmp_path_factory.mktemp("locks")
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("OMP_NUM_THREADS", ONE_THREAD["OMP_NUM_THREADS"])
    monkeypatch.setattr(timing, "Vendor", partial(timing.Vendor, rule=TimeCap(0.2)))


@pytest.fixture
def measured(project, pytester, recording, alone) -> Measured:
    return Measured(project, pytester, recording)


# Snapshots


@pytest.fixture(scope="session")
def writer():
    """A model whose every weight is random, so that no two tensors can be taken for one another."""
    import torch
    from snapshots import TINY

    from pytest_ocrsweep.vendor_model import build

    built = build.build(TINY, "flash", "grouped_mm", "cpu")
    generator = torch.Generator().manual_seed(7)
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, mean=0.1, std=0.1, generator=generator)
    return built


@pytest.fixture(scope="session")
def tensors(writer) -> dict[str, torch.Tensor]:
    import torch
    from snapshots import TINY, UNUSED, original

    patch = torch.zeros(TINY.clip.width, TINY.clip.channels, TINY.clip.patch, TINY.clip.patch, dtype=torch.bfloat16)
    return {**original(writer.state_dict()), UNUSED: patch}


@pytest.fixture
def snapshot(tmp_path, tensors):
    """Its folder."""
    from snapshots import write

    folder = tmp_path / "DeepSeek-OCR"
    folder.mkdir()
    write(folder, tensors)
    return folder
