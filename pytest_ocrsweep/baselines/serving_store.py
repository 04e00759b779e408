"""Serving figures as recorded: a JSON file for each model, GPU and engine, a point a line, each recorded run a part."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import BaselineError
from ..files import atomic
from ..files.text import command, quoted
from . import serving_memory
from .anchor import Became
from .counted import SCHEMA, Document, render
from .recorded_file import Recorded
from .serving import Provenance, ServingKey, ServingRun
from .serving_memory import RecordedServing, ServingPoints, noise_of
from .serving_rows import about, point, read_provenance, row

FOLDER = "serving"
NEAR = 0.01
"""Texts of a random length differ a little from run to run: a point is the same if its tokens are within 1 %."""


def file_of(folder: Path, model: str, gpu: str, engine: str) -> Path:
    """Where the serving points of `model` on `gpu`, a gpu_folder, under `engine` are recorded."""
    return folder / model / FOLDER / gpu / f"{engine}.json"


def known_engine(name: str) -> str:
    """The name, if it can name a file: vllm, sglang, my-server. Raises ValueError."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,40}", name):
        raise ValueError(f"an engine's name is of small letters, digits, dots and dashes, got {quoted(name)}")
    return name


def read(path: Path, model: str, gpu: str, engine: str) -> ServingPoints:
    """The recorded points; none without a file. Raises BaselineError for a file that cannot be trusted."""
    return _load(path, model, gpu, engine)[0]


def record(
    path: Path,
    model: str,
    gpu: str,
    engine: str,
    found: Sequence[tuple[ServingKey, ServingRun]],
    *,
    accept: bool = False,
) -> Recorded:
    """Merge runs into the file, one by one; other points stay. `accept`: they replace what their point has.

    Several processes may record at once. Raises BaselineError, OSError.
    """
    with atomic.locked(path):
        old, known = _load(path, model, gpu, engine)
        points, became = dict(old), Counter[Became | None]()
        lines, new = list[str](), set[ServingKey]()
        for wanted, run in found:
            key = nearest(points, wanted)
            if key not in new and (accept or key not in points):
                new.add(key)
                points.pop(key, None)
            step = serving_memory.update(key, points.get(key), run, noise_of(points), is_new=key in new)
            points[key] = step.stored
            became[Became.MOVED if step.became is Became.FIRST and key in old else step.became] += 1
            lines += filter(None, [step.about(str(key))])
        if points != old:
            atomic.replace(path, dump(model, gpu, engine, points, known))
    return Recorded(
        path,
        added=became[Became.FIRST],
        changed=became[Became.MOVED],
        same=became[Became.AGREES] + became[None],
        removed=0,
        kept=became[Became.DISAGREES],
        lines=tuple(lines),
    )


def nearest(points: Mapping[ServingKey, object], key: ServingKey) -> ServingKey:
    """The recorded key that differs from the wanted one only by a few tokens; the wanted one if no key does."""
    if key in points:
        return key

    def tokens(one: ServingKey) -> tuple[int, int]:
        return one.prompt_tokens, one.new_tokens

    def apart(other: ServingKey) -> int:
        return sum(abs(new - old) for new, old in zip(tokens(key), tokens(other), strict=True))

    near = [other for other in points if _but_tokens(other) == _but_tokens(key) and _is_near(key, other)]
    return min(near, key=lambda other: (apart(other), other.order), default=key)


def _but_tokens(key: ServingKey) -> tuple[object, ...]:
    return key.pages, key.resolution, key.concurrency, key.request_rate, key.encoder_graphs


def _is_near(key: ServingKey, other: ServingKey) -> bool:
    """Prompts within a few tokens, since a page has hundreds of image tokens; answers within NEAR."""
    prompts = abs(key.prompt_tokens - other.prompt_tokens) <= max(2, NEAR * other.prompt_tokens)
    return prompts and abs(key.new_tokens - other.new_tokens) <= NEAR * other.new_tokens


def dump(model: str, gpu: str, engine: str, points: ServingPoints, known: Sequence[Provenance] = ()) -> str:
    """The file's text; provenances keep the order of `known`, so that a line changes only with its point."""
    ordered = sorted(points, key=lambda key: key.order)
    used = [run.provenance for key in ordered for run in _runs(points[key])]
    listed = list(dict.fromkeys(each for each in (*known, *used) if each in used))
    rows = [row(key, points[key], listed) for key in ordered]
    return render(_about(model, gpu, engine), provenances=[about(each) for each in listed], points=rows)


def _runs(stored: RecordedServing) -> tuple[ServingRun, ...]:
    return (*stored.runs, *stored.anchor, *stored.pending)


def _about(model: str, gpu: str, engine: str) -> dict[str, object]:
    return {"schema": SCHEMA, "model": model, "gpu": gpu, "engine": engine}


def _load(path: Path, model: str, gpu: str, engine: str) -> tuple[ServingPoints, list[Provenance]]:
    provenances: list[Provenance] = []
    points: dict[ServingKey, RecordedServing] = {}

    def take_provenance(raw: object) -> None:
        provenance = read_provenance(raw)
        if provenance in provenances:
            raise ValueError("it is given twice")
        provenances.append(provenance)

    def take_point(raw: object) -> None:
        key, stored = point(raw, provenances)
        if key in points:
            raise ValueError(f"{key} is recorded twice")
        points[key] = stored

    try:
        document = Document.load(path, _about(model, gpu, engine), "provenances", "points")
        document.each("provenances", take_provenance)
        document.each("points", take_point)
    except BaselineError as error:
        restoring = command("git", "checkout", "--", str(path))
        damaged = error.message.startswith("damaged")
        hint = f"restore it ({restoring}), or delete it and record again with --update" if damaged else error.hint
        raise BaselineError(error.message, hint) from None
    return points, provenances
