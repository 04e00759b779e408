"""Small programs in the place of an engine's runner, each with one fault, and what is still running of one."""

from __future__ import annotations

import json
import time
from pathlib import Path

HELLO = 'import json, os, sys, time\nprint(json.dumps({"protocol": 2, "version": "0.32.0"}), flush=True)\n'
NEXT = "sys.stdin.readline()\n"


def failed(kind: str, line: str) -> str:
    """Code that answers the next command with a failure."""
    return NEXT + f"print({json.dumps(json.dumps({'failed': {'kind': kind, 'line': line}}))}, flush=True)\n"


def done(value: object) -> str:
    """Code that answers the next command."""
    return NEXT + f"print({json.dumps(json.dumps({'done': value}))}, flush=True)\n"


def runs(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def ends(pid: int, within_s: float = 5) -> bool:
    until = time.monotonic() + within_s
    while runs(pid):
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def write_engine(folder: Path, code: str, version: str = "0.32.0") -> dict[str, str]:
    """A package `vllm` with this code, as a variable with which an interpreter finds it."""
    (folder / "vllm").mkdir(parents=True)
    (folder / "vllm" / "__init__.py").write_text(code)
    metadata = folder / f"vllm-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n")
    (metadata / "top_level.txt").write_text("vllm\n")
    return {"PYTHONPATH": str(folder)}
