"""Releases of torch and transformers that nobody checked are refused in one line, before either is loaded."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from pytest_ocrsweep.sweep import meter
from pytest_ocrsweep.vendor_model import versions

INSTALLED = {"torch": "2.13.0+cu130", "transformers": "5.23.0"}


@pytest.fixture
def installed(monkeypatch):
    """Pretends that these releases are installed; None is not installed."""

    def pretend(**others: str | None) -> None:
        found = {**INSTALLED, **others}

        def version(package: str) -> str:
            release = found[package]
            if release is None:
                raise PackageNotFoundError(package)
            return release

        monkeypatch.setattr(versions, "version", version)

    return pretend


@pytest.mark.parametrize(
    "others",
    [
        {},
        {"transformers": "5.23.7"},
        {"torch": "2.11.0a0+3bcc3cddb5.nv26.01"},
        {"torch": None, "transformers": None},
    ],
    ids=["checked", "a later fix", "NVIDIA's own build", "not installed"],
)
def test_a_supported_release_is_not_refused(installed, others):
    installed(**others)
    assert versions.unsupported() is None


@pytest.mark.parametrize("release", ["5.19.0", "5.22.1", "5.24.0", "5.24.0.dev0", "6.0"])
def test_another_release_of_transformers_is_refused_with_the_supported_ones_and_the_remedy(installed, release):
    installed(transformers=release)
    assert versions.unsupported() == (
        f"transformers {release} is installed, supported is transformers>=5.23,<5.24 "
        "(pip install 'pytest-ocrsweep[vendor]')"
    )


def test_an_old_torch_is_refused(installed):
    installed(torch="2.10.1+cpu")
    assert str(versions.unsupported()).startswith("torch 2.10.1+cpu is installed, supported is torch>=2.11 ")


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_nothing_is_measured_with_a_release_that_is_refused(installed, monkeypatch, device):
    monkeypatch.setattr(meter, "find_spec", lambda name: name)  # both are installed
    installed(transformers="5.24.0")
    assert meter.why_not(device) == versions.unsupported()


def test_the_supported_releases_are_those_that_the_extra_installs():
    project = Path(__file__).parents[2] / "pyproject.toml"
    extra = tomllib.loads(project.read_text())["project"]["optional-dependencies"]["vendor"]
    required = {each.name: each.specifier for each in map(Requirement, extra)}
    assert {name: required[name] for name in versions.SUPPORTED} == {
        name: SpecifierSet(supported) for name, supported in versions.SUPPORTED.items()
    }


def test_asking_for_the_releases_loads_neither():
    code = """
import sys
from pytest_ocrsweep.vendor_model.versions import unsupported
unsupported()
print(sorted({"torch", "transformers"} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
