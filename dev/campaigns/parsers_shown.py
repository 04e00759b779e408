"""Labels, names and environments to fuzz: what is shown of them, and where they lead."""

from __future__ import annotations

import json
import os
import re
import sys
from contextlib import redirect_stderr, redirect_stdout, suppress
from functools import cache
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any
from unittest import mock

import damage
from damage import kept, pack, packed, parts

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests" / "support"))
LONG = 300  # characters of a page's name: more than a file's may have


def check_lines(text: str) -> None:
    """No terminal and no CI job obeys any of these lines."""
    for line in text.split("\n"):
        assert line.isprintable(), line
        assert not line.lstrip().startswith("::"), line
        assert "##[" not in line, line


def check_markdown(page: str) -> None:
    check_lines(page.replace("\u200b", ""))
    assert not re.search(r"@\w|://|\bwww\.\w|<(?!/?(?:details|summary)>)", page.replace("\\<", "")), page


# Labels: of a YAML file, and the names of pages


def labels_seeds(folder: Path) -> list[bytes]:
    texts = ("poster", "A4 at 150 dpi", "::error::x", "##[group]a", "a: b, 'c' \"d\"", "Ünïcode 頁")
    files = ("page.png", "a b.png", "::error::x.png", "##[group].png", "頁.png")
    return [*(pack(b"label", text.encode()) for text in texts), *(pack(b"page", name.encode()) for name in files)]


labels_damage = packed(kept, damage.of(["::", "##[", "error", "\x1b[31m", "\u202e", "\udcff", "@me", ".png", "%0A"]))


def labels_take(data: bytes, folder: Path) -> None:
    from pytest_ocrsweep.files.text import terminal_line
    from pytest_ocrsweep.report import summary
    from pytest_ocrsweep.sweep.results import Results

    kind, content = parts(data, 2)
    for old in folder.iterdir():
        old.unlink()
    sweep = _sweep(kind, content.decode("utf-8", "surrogateescape"), folder)
    sweep.__dict__.update(settings=settings(), model=_judged()[1])
    _ = sweep.points  # refuses
    results = Results(sweep)
    results.take([_judged()[0]], failed=False)
    text = "\n".join(map(terminal_line, summary.lines(results)))
    assert text
    check_lines(text)


def _sweep(kind: bytes, text: str, folder: Path) -> Any:
    """Of a grid with this label, or of a page with this name where a file can have it."""
    from pytest_ocrsweep.sweep.options import NO_SLOWDOWN, Options
    from pytest_ocrsweep.sweep.session import Sweep

    grids, images = "2x3", tuple[str, ...]()
    if kind == b"label":
        grids = str(folder / "grids.yaml")
        label = json.dumps(text, ensure_ascii=False)
        Path(grids).write_text(f"- grid: 2x3\n  label: {label}\n", encoding="utf-8", errors="surrogateescape")
    else:
        images = (str(folder / text.replace("/", "_")[:LONG]),)
        with suppress(OSError, ValueError):  # no file has such a name
            Path(images[0]).write_bytes(_page())
    given = dict.fromkeys(("checkpoint", "report")) | dict.fromkeys(("overrides", "command"), ())
    given |= dict.fromkeys(("require_vendor", "missing_fails", "wide_fails", "update", "prune", "profile"), False)
    given |= {"baselines": folder / "none", "here": folder, "slowdown": NO_SLOWDOWN, "default_grids": None}
    return Sweep(Options(grids=grids, images=images, analytic_only=True, **given))


@cache
def _page() -> bytes:
    from PIL import Image

    made = BytesIO()
    Image.new("1", (3000, 1000)).save(made, "PNG")
    return made.getvalue()


@cache
def settings() -> Any:
    from pytest_ocrsweep.sweep import config

    return config.compose()


@cache
def _judged() -> tuple[Any, Any]:
    """A point, and the model that it is of."""
    from pytest_ocrsweep.baselines.metrics import analytic
    from pytest_ocrsweep.baselines.result import PointResult
    from pytest_ocrsweep.baselines.verdict import Verdict
    from pytest_ocrsweep.model.geometry import CropGrid
    from pytest_ocrsweep.sweep.catalogue import model_of

    model, work = model_of(settings()), settings().workload.on(CropGrid(2, 3))
    costs = analytic(model.ledger("decode", work, "flash"))
    return PointResult.of("decode", work, "flash", costs, None, None, Verdict.NO_BASELINE), model


# Names: of a model, a GPU, a report's files, and of what the command line is to read


def names_seeds(folder: Path) -> list[bytes]:
    seeds = [pack(b"model", name) for name in (b"deepseek-ocr", b"mine.v2", b"A_b-c")]
    seeds += [pack(b"gpu", name) for name in (b"NVIDIA H200", b"NVIDIA A100-SXM4-80GB", b"Tesla V100/PCIe")]
    files = {"sweep.json": ["0" * 64], "charts/time.svg": ["1" * 64, "2" * 64]}
    return [*seeds, pack(b"manifest", json.dumps({"schema": 1, "files": files}).encode())]


def names_damage(data: bytes, rng: Any, raw: damage.Raw) -> bytes:
    words = ["..", "/", "\\", "../../x", "~", "con", "nul", ".", "-", "charts/", "'", '"', "${model.name}", "\x1b[31m"]
    inside = damage.tree if data[4:12] == b"manifest" else damage.of(words)
    return packed(kept, inside)(data, rng, raw)


def names_take(data: bytes, folder: Path) -> None:
    from pytest_ocrsweep.baselines import timed
    from pytest_ocrsweep.sweep import config

    kind, content = parts(data, 2)
    text = content.decode("utf-8", "replace")
    if kind == b"manifest":
        _put_beside(content, folder)
        return
    if kind == b"gpu":
        name = timed.gpu_folder(text)
    else:
        config._compose.cache_clear()
        quoted = text.replace("\\", "\\\\").replace("'", "\\'")
        name = config.compose([f"model.name='{quoted}'"]).model.name
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", name), name
    assert Path(os.path.realpath(folder / name / "x")).parent.parent == folder.resolve()


def _put_beside(manifest: bytes, folder: Path) -> None:
    """Whatever a manifest says, nothing but files of ours is written or removed."""
    from pytest_ocrsweep.report import owned

    out = folder / "out"
    (out / "charts").mkdir(parents=True, exist_ok=True)
    mine = [folder / "x", out / "mine.txt", out / "charts" / "my-logo.svg", out / "charts" / "time.svg"]
    for path in mine:
        path.write_bytes(b"mine")
    for path in [out / name for name in owned.NAMES if out / name not in mine]:
        path.unlink(missing_ok=True)
    (out / owned.MANIFEST).write_bytes(manifest)
    problems = owned.put(out, {"sweep.json": "{}", "charts/bytes.svg": "<svg/>"}, all_of="charts/")
    assert not problems
    assert (out / "sweep.json").read_bytes() == b"{}"
    assert [path.read_bytes() for path in mine] == [b"mine"] * len(mine)
    assert not owned.Owned.read(out).refusal("charts/bytes.svg")


# Environments: of a report, and of the process


def environments_seeds(folder: Path) -> list[bytes]:
    import documents  # type: ignore[import-not-found]  # in tests/support/

    one = documents.document()["environment"]
    known = dict.fromkeys(("gpu", "driver", "torch", "transformers", "dtype", "weights", "git_revision"), "2.11")
    hosts = [{**known, "host": name} for name in ("node1", "node2")]
    found = [pack(b"report", json.dumps(each).encode()) for each in (one, {**one, "gpu": None, "hosts": hosts})]
    visible = (b"0,1", b"GPU-8f3a", b"1", b"3,-1,2", b"MIG-GPU-8f3a/1/0", b"MIG-41b36")
    return [*found, *(pack(b"visible", value) for value in visible)]


def environments_damage(data: bytes, rng: Any, raw: damage.Raw) -> bytes:
    words = damage.of(["GPU-", "MIG-", "/", "..", ",", "-1", "\u00b2", "\u0663", "9" * 40, "0"])
    return packed(kept, words if data[4:11] == b"visible" else damage.tree)(data, rng, raw)


def environments_take(data: bytes, folder: Path) -> None:
    from pytest_ocrsweep.report import html, load, markdown

    kind, content = parts(data, 2)
    if kind == b"visible":
        _lock_what_is_visible(content, folder)
        return
    path = folder / "sweep.json"
    before, after = json.dumps(_plain()).split('"environment": null')
    path.write_bytes(before.encode() + b'"environment": ' + content + after.encode())
    found = load.load(path)
    check_markdown(markdown.page(found))
    for each in found.environment.measured:
        assert str(each)
    if len(content) % 8 == 0:
        check_lines(_compared(path, folder))
    if len(content) % 32 == 0:
        page = html.page(found, [])
        for value in (found.environment.torch, found.environment.gpu, found.environment.host):
            assert not value or "<" not in value or len(value) < 8 or value not in page


@cache
def _plain() -> dict[str, Any]:
    import documents

    return {**documents.document(), "environment": None}


def _compared(path: Path, folder: Path) -> str:
    """What the command line says of this report beside a plain one."""
    import documents

    from pytest_ocrsweep import cli

    other, out, err = folder / "plain.json", StringIO(), StringIO()
    other.write_text(json.dumps(documents.document()))
    with redirect_stdout(out), redirect_stderr(err):
        assert cli.main(["compare", str(path), str(other)]) in (0, 1)
    return out.getvalue() + err.getvalue()


def _lock_what_is_visible(value: bytes, folder: Path) -> None:
    """The lock of the first GPU of CUDA_VISIBLE_DEVICES lies in the folder of locks, whatever its name."""
    from pytest_ocrsweep.sweep import gpu_lock, gpus

    said: list[str] = []
    environment = {gpus.VISIBLE: value.replace(b"\0", b"").decode("utf-8", "surrogateescape")}
    with (
        mock.patch.dict(os.environ, environment),
        mock.patch.object(gpus, "_installed", return_value=8),
        mock.patch("tempfile.gettempdir", return_value=str(folder)),
    ):
        assert all(name and "," not in name for name in gpus.gpus())
        with gpu_lock.gpu_lock(gpus.device_id("cuda"), said.append):
            (locks,) = folder.glob("pytest-ocrsweep-*")
            held = [path for path in folder.rglob("*.lock") if path.is_file()]
            assert [path.parent for path in held] == [locks]
    assert not said
    for path in held:
        path.unlink()
