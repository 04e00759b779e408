"""A real vLLM for the slow tests: its build for CPUs, in an environment of its own, serving a tiny model."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from engines.cpu_vllm import environment

VARIABLE = "OCRSWEEP_VLLM_PYTHON"


@pytest.fixture(scope="session")
def vllm_python() -> str:
    """An interpreter with vLLM. Without one these tests are skipped, and the summary of the run says so."""
    python = os.environ.get(VARIABLE)
    if not python:
        pytest.skip(f"needs a real vLLM: {VARIABLE} is not set; `make engine` makes one and runs this")
    return python


@pytest.fixture(scope="session")
def tiny_model(vllm_python: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny model, without weights."""
    folder = tmp_path_factory.mktemp("tiny-model")
    subprocess.run([vllm_python, environment.HERE / "tiny_model.py", folder], check=True)
    return folder
