"""Databases to fuzz, as runs are added to them and shapes replace their content."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import damage_binary
from damage import kept, pack, packed, parts
from parsers_shown import settings


def databases_seeds(folder: Path) -> list[bytes]:
    import documents

    from pytest_ocrsweep.report import sqlite
    from pytest_ocrsweep.sweep import shapes

    path = folder / "seed.sqlite"
    sqlite.write(documents.report(), path)
    sqlite.write(documents.report(documents.point("vision")), path)
    made = [pack(b"runs", b""), pack(b"runs", path.read_bytes())]
    path.unlink()
    shapes.write(path, *shapes.shapes(range(1, 20), settings(), 4.0))
    made.append(pack(b"shapes", path.read_bytes()))
    path.unlink()
    return made


databases_damage = packed(kept, damage_binary.database)


def databases_take(data: bytes, folder: Path) -> None:
    kind, content = parts(data, 2)
    for old in folder.iterdir():
        old.unlink()
    path = folder / f"{kind.decode('ascii', 'replace')[:6]}.sqlite"
    path.write_bytes(content)
    try:
        _add_run(path) if kind == b"runs" else _replace_shapes(path)
    except ValueError:
        now = path.read_bytes() if path.exists() else b""
        assert now == content, "a database that was refused has changed"
        raise


def _add_run(path: Path) -> None:
    """The runs that could be read can be read still, and the new one too."""
    import documents

    from pytest_ocrsweep.errors import ReportError
    from pytest_ocrsweep.report import sqlite

    def readable() -> dict[int, Any]:
        found = {}
        with suppress(ReportError):
            for run in sqlite.runs(path):
                with suppress(ReportError):
                    found[run] = sqlite.read(path, run)
        return found

    before, new = readable(), documents.report(documents.point(tensor_flops=7))
    number = sqlite.write(new, path)
    after = readable()  # a damaged run that nobody could read may have come back
    assert {run: after.get(run) for run in (*before, number)} == {**before, number: new}


def _replace_shapes(path: Path) -> None:
    from pytest_ocrsweep.sweep import made_for, shapes

    about, rows = shapes.shapes(range(1, 8), settings(), 4.0)
    shapes.write(path, about, rows)
    assert len(shapes.read(str(path), None, made_for.SweptFor.of(settings()))) == len(rows)
