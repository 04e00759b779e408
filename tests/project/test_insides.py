"""What other packages keep to themselves is touched in two files, which say why: a new version breaks one place."""

from __future__ import annotations

from pathlib import Path

import insides
import layers
import pytest

PLUGIN, VENDOR = "plugin/compat", "vendor_model/compat"
MOST = 15  # private names of others that we lean on, beside those of torch and transformers


def touches() -> list[insides.Touch]:
    modules = layers.modules()
    return insides.touches(modules, layers.imports(modules))


def test_private_names_of_others_stand_in_the_two_modules_for_them() -> None:
    broken = [touch for touch in touches() if touch.module.path not in (PLUGIN, VENDOR)]
    if broken:
        home = {"vendor_model": f"move it to {VENDOR}.py", "plugin": f"move it to {PLUGIN}.py"}
        lines = [f"{each}: {home.get(each.module.package, 'use what is public')}" for each in broken]
        pytest.fail("\n".join(lines), pytrace=False)


def test_private_names_outside_torch_stay_few() -> None:
    found = [str(touch) for touch in touches() if touch.module.package != "vendor_model"]
    assert len(found) <= MOST, found


def test_the_module_for_torch_touches_torch_and_transformers_alone() -> None:
    imports = [each for each in layers.imports(layers.modules()) if each.module.path == VENDOR and not each.target]
    assert {each.name.split(".")[0] for each in imports if insides.private(each.name)} <= set(insides.TORCH)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("from _pytest.main import Session", "_pytest.main.Session"),
        ("def f():\n    from hydra._internal import utils", "hydra._internal.utils"),
        ("import xdist.remote", "xdist.remote"),
        ("from xdist import remote", "xdist.remote"),
        ("from pytest_benchmark.session import BenchmarkSession", "pytest_benchmark.session.BenchmarkSession"),
        ("def f(session):\n    session._active_nodes.add(1)", "session._active_nodes"),
        ("def f(gateway):\n    return getattr(gateway, '_io')", "gateway._io"),
        ("class A(B):\n    def f(self):\n        self._theirs()", "self._theirs"),
        ("SOFTMAX = aten._softmax", "aten._softmax"),
    ],
)
def test_a_private_name_of_another_package_is_found(text: str, name: str, tmp_path: Path) -> None:
    assert found(text, tmp_path) == [name]


@pytest.mark.parametrize(
    "text",
    [
        "from __future__ import annotations\nfrom ..files import _own",
        "import execnet\nfrom execnet import HostNotFound\nfrom xdist import is_xdist_worker",
        "from xdist.scheduler import LoadScheduling",
        "class A:\n    def f(self):\n        self._mine = 1\n    def g(self, other):\n        return other._mine",
        "def f(kernel):\n    return kernel._replace(times=2).__dict__",
    ],
)
def test_a_name_of_ones_own_or_a_public_one_is_none(text: str, tmp_path: Path) -> None:
    assert found(text, tmp_path) == []


def found(text: str, folder: Path) -> list[str]:
    """The private names of others in a package of this module and an empty one."""
    for name, content in (("sweep/it", text), ("files/__init__", "_own = 1")):
        path = folder / layers.PACKAGE / f"{name}.py"
        path.parent.mkdir(parents=True)
        path.write_text(content)
    modules = layers.modules(folder)
    return [touch.name for touch in insides.touches(modules, layers.imports(modules))]
