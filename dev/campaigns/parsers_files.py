"""The parsers of text files and databases to fuzz: baselines, what to sweep, reports."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import damage
import damage_binary
from damage import kept, pack, packed, parts

ROOT = Path(__file__).resolve().parents[2]
MODEL, GPU, STAGE = "deepseek-ocr", "nvidia-h200", "decode"

# Baselines: counted numbers and times


def baselines_seeds(folder: Path) -> list[bytes]:
    recorded = ROOT / "baselines" / MODEL
    found = []
    for kind, file in (("counted", recorded / f"{STAGE}.json"), ("timed", recorded / "timed" / GPU / f"{STAGE}.json")):
        document = json.loads(file.read_text())
        found.append(pack(kind.encode(), json.dumps({**document, "points": document["points"][:3]}).encode()))
    return found


def baselines_take(data: bytes, folder: Path) -> None:
    from pytest_ocrsweep.baselines import counted, evidence, timed

    kind, content = parts(data, 2)
    path = folder / f"{STAGE}.json"
    path.write_bytes(content)
    if kind == b"timed":
        times = timed.read(path, MODEL, GPU, STAGE)
        assert evidence.expected_noise(stored.baseline for stored in times.values()) >= 0
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
    content = damage_binary.database if data[4:6] == b"db" else damage.of(WORDS)
    chosen = damage.of(["..", "/", ":", "1"]) if data[4:6] == b"db" else kept
    return packed(kept, chosen if rng.random() < 0.2 else content, content)(data, rng, raw)


def sweep_take(data: bytes, folder: Path) -> None:
    from pytest_ocrsweep.sweep import config, grid_sources, made_for, shapes

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
    entries = grid_sources.entries(source, made_for.SweptFor.of(config.compose()))
    assert entries
    assert len({entry.grid for entry in entries}) == len(entries)
    assert all(entry.label is None or entry.label.isprintable() for entry in entries)
    assert [config.compose().workload.on(entry.grid).image_tokens > 0 for entry in entries]


# Reports read back


def report_seeds(folder: Path) -> list[bytes]:
    sys.path.append(str(ROOT / "tests" / "support"))
    import documents  # type: ignore[import-not-found]  # in tests/support/

    from pytest_ocrsweep.report import sqlite

    points = (documents.point(), documents.point("vision", "1x1"))
    path, whole = folder / "seed.sqlite", documents.document(*points)
    sqlite.write(documents.report(), path)
    sqlite.write(documents.report(*points), path)
    bare = {**documents.point(), "vendor": None, "floor": None}
    made = [pack(b"json", json.dumps(one).encode()) for one in (whole, documents.document(bare))]
    made += [pack(kind, path.read_bytes()) for kind in (b"sqlite", b"sqlite#1")]
    path.unlink()
    return made


def report_damage(data: bytes, rng: Any, raw: damage.Raw) -> bytes:
    return packed(kept, damage_binary.database if data[4:10] == b"sqlite" else damage.tree)(data, rng, raw)


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
