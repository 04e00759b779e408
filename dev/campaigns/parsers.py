"""The parsers to fuzz: real inputs of each, how to damage them, and what must hold of a value that is accepted."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import damage
from damage import Damage, kept, pack, packed, parts
from parsers_binary import checkpoint_damage, checkpoint_seeds, checkpoint_take, image_seeds, image_take, pixels_take

ROOT = Path(__file__).resolve().parents[2]
MODEL, GPU, STAGE = "deepseek-ocr", "nvidia-h200", "decode"
A_LINE_A_PROBLEM = ("CheckpointError",)  # a snapshot of another model has many at once
MIB = 1 << 20


class Parser(NamedTuple):
    """`take` reads an input by way of files in a folder; it raises the parser's error, or AssertionError."""

    seeds: Callable[[Path], list[bytes]]
    damage: Damage
    take: Callable[[bytes, Path], object]
    memory: int = 256 * MIB  # that one case may take


# Baselines: counted numbers and times


def baselines_seeds(folder: Path) -> list[bytes]:
    recorded = ROOT / "baselines" / MODEL
    found = []
    for kind, file in (("counted", recorded / f"{STAGE}.json"), ("timed", recorded / "timed" / GPU / f"{STAGE}.json")):
        document = json.loads(file.read_text())
        found.append(pack(kind.encode(), json.dumps({**document, "points": document["points"][:3]}).encode()))
    return found


def baselines_take(data: bytes, folder: Path) -> None:
    from pytest_ocrsweep.baselines import counted, gate, timed

    kind, content = parts(data, 2)
    path = folder / f"{STAGE}.json"
    path.write_bytes(content)
    if kind == b"timed":
        times = timed.read(path, MODEL, GPU, STAGE)
        assert gate.expected_noise(stored.baseline for stored in times.values()) >= 0
        path.write_text(timed.dump(MODEL, GPU, STAGE, times))
        assert timed.read(path, MODEL, GPU, STAGE) == times
        return
    points = counted.read(path, MODEL, STAGE)
    done = counted.record(path, MODEL, STAGE, points)
    assert (done.added, done.changed, done.same) == (0, 0, len(points))
    path.write_text(counted.dump(MODEL, STAGE, points))
    assert counted.read(path, MODEL, STAGE) == points
    for numbers in points.values():
        assert all(str(change).isprintable() for change in counted.compare(numbers, dict.fromkeys(numbers, 0)))


# Overrides of the configuration

OVERRIDES = (
    "workload.batch=4",
    "model=deepseek-ocr-tiny",
    "model.decoder.layers=6\nworkload.resolution=base",
    "model.sam.global_layers=[0,1]\nmodel.sam.downsample_widths=[512,1024]",
    "vendor.device=cpu\ngrids=dense",
    "device=rtx-4090\nworkload.new_tokens=1000",
    "device.bandwidth_bytes_per_s=4e12\nmodel.dtype=fp16",
    "grids='1x2,2x3'\nmodel.name=mine",
    "model.decoder.experts=8\nmodel.decoder.experts_per_token=2",
)


def config_seeds(folder: Path) -> list[bytes]:
    return [text.encode() for text in OVERRIDES]


@cache
def keys() -> list[str]:
    from pytest_ocrsweep.sweep.config import Settings, _options

    return [
        *_options(Settings),
        "model",
        "device",
        "workload",
        "null",
        "true",
        "0x1f",
        "1e3",
        "${x}",
        "???",
        "inf",
        "+a",
    ]


def config_damage(data: bytes, rng: Any, raw: damage.Raw) -> bytes:
    lines = data.split(b"\n")
    if rng.random() < 0.1:
        lines.insert(rng.randrange(len(lines) + 1), rng.choice(OVERRIDES).encode())
        return b"\n".join(lines)
    return damage.words(data, rng, raw, keys())


def config_take(data: bytes, folder: Path) -> None:
    from pytest_ocrsweep.hardware.roofline import floor
    from pytest_ocrsweep.model.geometry import CropGrid
    from pytest_ocrsweep.model.stages import STAGES, Model
    from pytest_ocrsweep.sweep import config

    config._compose.cache_clear()
    settings = config.compose(data.decode("utf-8", "surrogateescape").split("\n"))
    assert (folder / settings.model.name / "x").resolve().parent.parent == folder.resolve()
    if len(data) % 4 == 0:  # a ledger takes longer than all before it
        stage = list(STAGES)[len(data) % len(STAGES)]
        ledger = Model(settings.model).ledger(stage, settings.workload.on(CropGrid(1, 1)), "eager")
        assert ledger.total().tensor_flops > 0 < ledger.peak_activation_bytes
        assert floor(ledger, settings.device).time_ns >= 0


# What to sweep: lists, YAML files, databases of shapes


def sweep_seeds(folder: Path) -> list[bytes]:
    from pytest_ocrsweep.sweep import config, shapes

    path = folder / "seed.sqlite"
    about, found = shapes.shapes(range(1, 40), config.compose(), 4.0)
    shapes.write(path, about, found)
    yaml = (
        "- 2x3\n- grid: 13x20\n  label: poster\n  analytic_only: true\n- image: [1240, 1754]\n  label: 'A4: 150 dpi'\n"
    )
    texts = [("yaml", yaml), ("yaml", f"grids:\n{yaml}"), ("yaml", "[1x1, {grid: 2x2}]"), ("list", "1x2,2x3,3×1")]
    texts += [("list", "vendor"), ("counts", "1..1000/10"), ("counts", "7")]
    databases = [pack(b"db", choice, path.read_bytes()) for choice in (b"", b":1..30/10")]
    path.unlink()
    return [*(pack(kind.encode(), b"", text.encode()) for kind, text in texts), *databases]


WORDS = ["grid", "image", "label", "analytic_only", "grids", "true", "false", "1x1", "2x3"]
WORDS += ["!!python/object", "*a", "&a", "<<", "?", "---", "...", "%YAML"]


def sweep_damage(data: bytes, rng: Any, raw: damage.Raw) -> bytes:
    content = damage.database if data[4:6] == b"db" else damage.of(WORDS)
    chosen = damage.of(["..", "/", ":", "1"]) if data[4:6] == b"db" else kept
    return packed(kept, chosen if rng.random() < 0.2 else content, content)(data, rng, raw)


def sweep_take(data: bytes, folder: Path) -> None:
    from pytest_ocrsweep.sweep import config, grid_sources, shapes

    kind, choice, content = parts(data, 3)
    if kind == b"counts":
        found = shapes.counts(content.decode("utf-8", "replace"))
        assert 1 <= found[0] <= found[-1] <= shapes.MOST
        return
    source = content.decode("utf-8", "replace")
    if kind in (b"yaml", b"db"):
        path = folder / ("grids.yaml" if kind == b"yaml" else "shapes.sqlite")
        path.write_bytes(content)
        source = str(path) + choice.decode("utf-8", "replace")
    points = grid_sources.points(source)
    assert points
    assert len({point.grid for point in points}) == len(points)
    assert all(point.label is None or point.label.isprintable() for point in points)
    assert [config.compose().workload.on(point.grid).image_tokens > 0 for point in points]


# Reports read back


def report_seeds(folder: Path) -> list[bytes]:
    sys.path.append(str(ROOT / "tests"))
    import documents  # type: ignore[import-not-found]  # in tests/

    from pytest_ocrsweep.baselines import result_json
    from pytest_ocrsweep.report import sqlite

    path, whole = folder / "seed.sqlite", documents.document(documents.point(), documents.point("vision", "1x1"))
    sqlite.write(documents.report(), path)
    sqlite.write(result_json.from_json(whole, "a seed"), path)
    bare = {**documents.point(), "vendor": None, "floor": None}
    made = [pack(b"json", json.dumps(one).encode()) for one in (whole, documents.document(bare))]
    made += [pack(kind, path.read_bytes()) for kind in (b"sqlite", b"sqlite#1")]
    path.unlink()
    return made


def report_damage(data: bytes, rng: Any, raw: damage.Raw) -> bytes:
    return packed(kept, damage.database if data[4:10] == b"sqlite" else damage.tree)(data, rng, raw)


def report_take(data: bytes, folder: Path) -> None:
    from pytest_ocrsweep.baselines import result_json
    from pytest_ocrsweep.report import compare_sources, comparison, html, load, markdown, sqlite

    kind, content = parts(data, 2)
    path = folder / ("sweep.sqlite" if kind.startswith(b"sqlite") else "sweep.json")
    path.write_bytes(content)
    found = load.load(f"{path}#1" if kind == b"sqlite#1" else path)
    assert result_json.from_json(result_json.to_json(found), "again") == found
    assert markdown.page(found).encode()
    if len(content) % 8 == 0:  # it takes longer than all before it
        assert html.page(found, []).encode()
        side = compare_sources.of_report(found, "it")
        assert not found.points or not comparison.compare(side, side).moved
        again = folder / "again.sqlite"
        again.unlink(missing_ok=True)
        sqlite.write(found, again)
        assert load.load(again) == found


# The command line

LINES = (
    "cost\n2x3\n--stage\nprefill\n--depth\n2",
    "cost\n1x1\n--set\nworkload.resolution=base\n--json\n--attention\neager",
    "cost\n2x3\n--path\ndecoder/attn\n--device\nrtx-4090",
    "devices\n--device\nh100\n--json",
    "fits\n2x3\n--device\nl40s\n--set\nworkload.batch=32",
    "size\n2x3\n--ttft\n0.5\n--tpot\n0.02",
    "sweep\n--grids\n1x1,2x3\n--report\nout\n--stage\nvision",
    "shapes\n--crops\n1..100/10\n--db\nshapes.sqlite",
    "compare\nbaselines/deepseek-ocr\ndeepseek-ocr\n--grids\n1x1\n--top\n3",
    "report\nsweep.json\nout",
)
OPTIONS = (
    "--stage --depth --set --json --attention --path --device --ttft --tpot --grids --report --crops --db --top -h"
)
READS_ONLY = ("cost", "devices", "fits", "size")  # of these all is run, of the others the arguments are read


def arguments_seeds(folder: Path) -> list[bytes]:
    return [text.encode() for text in LINES]


def arguments_damage(data: bytes, rng: Any, raw: damage.Raw) -> bytes:
    return damage.words(data, rng, raw, [*OPTIONS.split(), *keys(), "h200", "cpu", "nan", "1e-3", "5", "decoder"])


def arguments_take(data: bytes, folder: Path) -> None:
    """The words as a shell would give them; a usage error is raised as what it is for a caller of Python."""
    from pytest_ocrsweep import cli
    from pytest_ocrsweep.cli.flags import ArgumentError
    from pytest_ocrsweep.sweep import config

    config._compose.cache_clear()
    words = data.decode("utf-8", "replace").replace("\0", "").split("\n")
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            options = _command_line().parse_args(words)
            code = cli.main(words) if words[0] in READS_ONLY else 0
            if words[0] in ("sweep", "shapes", "compare"):
                _read_arguments(options)
        except SystemExit as stopped:
            code = stopped.code  # type: ignore[assignment]  # argparse gives ints
    assert code in (0, cli.USAGE), code
    if code:
        assert err.getvalue().count("\n") == 1, err.getvalue()
        raise ArgumentError(err.getvalue()[:2000].rstrip("\n"))
    assert out.getvalue() or words[0] not in READS_ONLY


@cache
def _command_line() -> Any:
    from pytest_ocrsweep import cli

    return cli.parser()


def _read_arguments(options: Any) -> None:
    from pytest_ocrsweep.cli import flags
    from pytest_ocrsweep.sweep import shapes

    if hasattr(options, "overrides"):
        settings = flags.compose(options)
        if getattr(options, "grids", None) is not None:
            flags.points(options.grids, settings)
    if isinstance(getattr(options, "crops", None), str):
        shapes.counts(options.crops)


PARSERS = {
    "baselines": Parser(baselines_seeds, packed(kept, damage.tree), baselines_take),
    "config": Parser(config_seeds, config_damage, config_take),
    "sweep": Parser(sweep_seeds, sweep_damage, sweep_take),
    "report": Parser(report_seeds, report_damage, report_take),
    "image": Parser(image_seeds, damage.picture, image_take),
    "pixels": Parser(image_seeds, damage.picture, pixels_take, memory=2048 * MIB),
    "checkpoint": Parser(checkpoint_seeds, checkpoint_damage, checkpoint_take),
    "arguments": Parser(arguments_seeds, arguments_damage, arguments_take),
}
