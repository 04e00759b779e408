"""The lock holds whatever a development environment installs, and its audit fails for what it could not look up."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ASKED = [*PROJECT["dependencies"], *(text for extra in PROJECT["optional-dependencies"].values() for text in extra)]
PINNED = re.findall(r"^([\w.-]+)==([^\s;]+)", (ROOT / "dev/release/lock.txt").read_text(), re.M)


@pytest.mark.parametrize("text", ASKED)
def test_each_requirement_is_locked_in_a_version_that_it_takes(text):
    wanted = Requirement(text)
    name = re.sub(r"[-_.]+", "-", wanted.name).lower()
    versions = [version for locked, version in PINNED if locked == name]
    if name == "torch":
        assert versions == []  # which build is right depends on the machine
    else:
        assert versions
        assert all(wanted.specifier.contains(Version(version)) for version in versions)


def test_the_audit_fails_for_a_package_that_could_not_be_looked_up():
    makefile = (ROOT / "Makefile").read_text()
    recipe = makefile.partition("\naudit:")[2].partition("\n\n")[0]
    assert "pip-audit --strict " in recipe  # without it, such a package is skipped, and the exit code is 0
