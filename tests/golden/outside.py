"""Runs `ocrsweep` and `pytest` as a user does, in processes of their own, and writes down what they print and leave.

Nothing here imports an inner module of the package, so these functions outlive any change of its layout.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

ROOT = Path(__file__).parents[2]
CHANGES_OUTPUT = (
    "PYTEST_",
    "GITHUB_",
    "CI",
    "BUILD_NUMBER",
    "FORCE_COLOR",
    "PY_COLORS",
)  # variables of the environment

# One process runs many commands, each as `python -m pytest_ocrsweep` does: a process a command would take much longer.
DRIVER = """
import io, json, runpy, sys

def run(words):
    sys.argv = ["ocrsweep", *words]
    streams = sys.stdout, sys.stderr = [io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2)]
    try:
        runpy.run_module("pytest_ocrsweep", run_name="__main__")
    except SystemExit as stop:
        code = stop.code
    for stream in streams:
        stream.flush()
    return [code or 0, *(stream.buffer.getvalue().decode() for stream in streams)]

ran = [run(words) for words in json.load(sys.stdin)]
json.dump(ran, sys.__stdout__)
"""


def project(folder: Path) -> Path:
    """A project with the suites and baselines of this one, outside of any git repository."""
    for name in ("suites", "baselines"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "pytest.ini").touch()
    return folder


def ocrsweep(folder: Path, *commands: str, columns: str = "") -> str:
    """A transcript of those commands, run in `folder` one after another; for a terminal of so many columns, if any."""
    return "\n".join(transcripts(folder, *commands, columns=columns))


def transcripts(folder: Path, *commands: str, columns: str = "") -> list[str]:
    """The same, one a command."""
    words = [shlex.split(command) for command in commands]
    done = _run([sys.executable, "-c", DRIVER], folder, json.dumps(words), columns)
    assert done.returncode == 0, done.stderr
    ran = json.loads(done.stdout)
    said = [transcript(f"ocrsweep {command}", *rest) for command, rest in zip(commands, ran, strict=True)]
    return [text.replace(str(folder), "<here>") for text in said]


def pytest(folder: Path, command: str, columns: str = "") -> str:
    """A transcript of one pytest run, without what differs from run to run and from machine to machine."""
    done = _run([sys.executable, "-m", "pytest", *shlex.split(command)], folder, columns=columns)
    said = done.stdout.replace(str(folder), "<here>")
    said = re.sub(r"^(platform|rootdir|configfile|plugins|cachedir): .*\n|^platform .*\n", "", said, flags=re.M)
    said = re.sub(r"<[\w.]+ object at 0x\w+>", "<object>", said)
    said = re.sub(r"^=+ (.* )in [\d.]+s( \(.*\))? =+$", r"=== \1in TIME ===", said, flags=re.M)
    said = re.sub(r"^([\w.]+ .*)in [\d.]+s$", r"\1in TIME", said, flags=re.M)
    return transcript(f"pytest {command}", done.returncode, said, done.stderr.replace(str(folder), "<here>"))


def transcript(command: str, code: int, out: str, err: str) -> str:
    lines = [f"$ {command}", *out.splitlines(), *(f"stderr: {line}" for line in err.splitlines())]
    return "\n".join([*lines, *([f"exit code {code}"] if code else []), ""])


def _run(command: Sequence[str], folder: Path, given: str = "", columns: str = "") -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(CHANGES_OUTPUT)}
    environment = {
        **kept,
        "COLUMNS": columns,
        "GIT_CEILING_DIRECTORIES": str(folder.parent),
        "NO_COLOR": "1",
        "PYTEST_ADDOPTS": "-p xdist -p ocrsweep -p no:cacheprovider",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "PYTHONUTF8": "1",
    }
    return subprocess.run(
        command, cwd=folder, env=environment, input=given, capture_output=True, encoding="utf-8", timeout=300
    )


# What they leave


def files(folder: Path) -> str:
    return "".join(f"{path.relative_to(folder)}\n" for path in sorted(folder.rglob("*")) if path.is_file())


def digest(value: object) -> str:
    """SHA-256 of bytes, or of a value as canonical JSON."""
    if not isinstance(value, bytes):
        value = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    return hashlib.sha256(value).hexdigest()


def digests(paths: Sequence[Path], folder: Path) -> str:
    return "".join(f"{digest(path.read_bytes())}  {path.relative_to(folder)}\n" for path in sorted(paths))


def sweep(path: Path, whole: int) -> str:
    """A sweep.json: a digest of each point, all else in full, and so many points of those, evenly spread."""
    document = json.loads(path.read_text(encoding="utf-8"))
    points = document.pop("points")
    lines = [f"{digest(point)}  {point['stage']} {point['grid']} {point['attention']}" for point in points]
    some = points[:: max(1, len(points) // whole)][:whole]
    return "\n".join([json.dumps(document, indent=1), *lines, *(json.dumps(point, indent=1) for point in some), ""])


def database(path: Path, whole: Sequence[str] = ()) -> str:
    """The schema, and of each table the number of rows and a digest of them; the rows of some tables in full."""
    with closing(sqlite3.connect(path)) as db:
        pragmas = [
            f"{name} {db.execute(f'PRAGMA {name}').fetchone()[0]}" for name in ("application_id", "user_version")
        ]
        schema = [sql for (sql,) in db.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")]
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = {name: _rows(db, name) for name in tables}
    counts = [f"{digest(rows[name])}  {name}, {len(rows[name])} rows" for name in tables]
    return "\n".join([*pragmas, *schema, *counts, *(json.dumps(row) for name in whole for row in rows[name]), ""])


def _rows(db: sqlite3.Connection, table: str) -> list[dict[str, object]]:
    found = db.execute(f"SELECT * FROM {table}")
    names = [column[0] for column in found.description]
    return [
        {**dict(zip(names, row, strict=True)), **({"written_utc": ""} if "written_utc" in names else {})}
        for row in found
    ]


def markup(path: Path) -> str:
    """The report's page without its scripts, most of which are a library's, and without their digests."""
    text = re.sub(r"(<script\b[^>]*>).*?(?=</script>)", r"\1...", path.read_text(encoding="utf-8"), flags=re.S)
    return re.sub(r"sha256-[\w+/=]+", "sha256-...", text)


def drawn(folder: Path) -> str:
    """Digests of a report's charts and of the page's data."""
    page = (folder / "index.html").read_text(encoding="utf-8")
    (packed,) = re.findall(r'<script[^>]* id="data">(.*?)</script>', page, re.S)
    data = json.loads(gzip.decompress(base64.b64decode(packed)))
    lines = [f"{digest(value)}  data of index.html: {name}\n" for name, value in data.items()]
    return digests(list((folder / "charts").iterdir()), folder) + "".join(lines)


def columns(path: Path) -> str:
    """A Parquet file's columns, each with a digest of its values."""
    from pyarrow import parquet

    table = parquet.read_table(path)
    fields = [
        f"{digest(table[name].to_pylist())}  {name} {table.schema.field(name).type}\n" for name in table.column_names
    ]
    return f"{table.num_rows} rows\n" + "".join(fields)
