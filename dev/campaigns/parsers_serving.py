"""The parsers of serving figures to fuzz: files of other tools, and recorded points."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import damage
from damage import kept, pack, packed, parts

DATA = Path(__file__).resolve().parents[2] / "tests/report/data/serving"
ABOUT = ("deepseek-ocr", "cpu", "vllm")
IMAGE_TOKENS = 273  # of a page of 1x1


def serving_seeds(folder: Path) -> list[bytes]:
    from pytest_ocrsweep.baselines import serving_store

    path = folder / "vllm.json"
    names = ("vllm-serve-1.json", "vllm-serve-2.json", "vllm-serve-detailed.json", "sglang.jsonl", "aiperf.json")
    files = [(DATA / name).read_bytes() for name in names]
    for content in files[:3]:
        for each in _placed(content, folder):
            serving_store.record(path, *ABOUT, [(each.key, each.run)])
    recorded = path.read_bytes()
    path.unlink()
    appended = (DATA / "vllm-serve-appended.json").read_bytes()
    return [*(pack(b"tool", content) for content in (*files, appended)), pack(b"store", recorded)]


def serving_damage(data: bytes, rng: Any, raw: damage.Raw) -> bytes:
    return packed(kept, damage.tree)(data, rng, raw)


def _placed(content: bytes, folder: Path) -> list[Any]:
    from pytest_ocrsweep.baselines.serving import Pages
    from pytest_ocrsweep.report.imported import files
    from pytest_ocrsweep.report.imported.placed import Said, place

    path = folder / "FILE"
    path.write_bytes(content)
    said = Said(ABOUT[0], pages=Pages("grid", "1x1"), engine="vllm", gpu="cpu", served_as="tiny-ocr")
    return [place(run, said, lambda _pages, _engine: IMAGE_TOKENS) for run in files.read(path, new_tokens=8)]


def serving_take(data: bytes, folder: Path) -> None:
    from pytest_ocrsweep.baselines import serving_memory, serving_store
    from pytest_ocrsweep.report import serving
    from pytest_ocrsweep.report.imported.judged import judged

    kind, content = parts(data, 2)
    path = folder / "vllm.json"
    if kind == b"store":
        path.write_bytes(content)
        stored = serving_store.read(path, *ABOUT)
        path.write_text(serving_store.dump(*ABOUT, stored))
        assert serving_store.read(path, *ABOUT) == stored
        return
    path.unlink(missing_ok=True)
    placed = _placed(content, folder)
    found = list(judged(*ABOUT, placed, {}, serving_memory.noise_of({})))
    assert all(line.isprintable() for line in serving.lines(found))
    assert serving.page(found).encode()
    done = serving_store.record(path, *ABOUT, [(each.key, each.run) for each in placed])
    assert done.added == len(serving_store.read(path, *ABOUT)) <= len(placed)
