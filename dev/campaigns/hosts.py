"""Two hosts, each a network namespace of this machine, time one sweep; in its midst one of their workers is killed.

    python dev/campaigns/hosts.py              a worker of node2 is killed: another takes its place
    python dev/campaigns/hosts.py --lose host  all of node2 is killed: the run ends, and says what is left

Each host has a checkout of its own, this one's controller a third. What is timed is the tiny model, on the CPU. Shows
what pytest says and, from what it wrote, where each point was timed. Ends with 1 unless each point was timed once, or
is listed as left, both hosts took part, and the controller's checkout alone has the baselines.

Needs root and the `vendor` extra.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests" / "support"))
from namespaces import PORT, Host, hosts, why_not  # noqa: E402

STAGES = ("vision", "decode")
OPTIONS = ["model=deepseek-ocr-tiny", "vendor.device=cpu", "workload.new_tokens=4"]
GRIDS = "1x1,1x2,2x1,1x3"
# Each worker says what it runs, so that it can be killed in the midst of it.
CONFTEST = """
import os, pathlib, socket

def pytest_runtest_call(item):
    pathlib.Path(os.environ["RUNNING"], f"{socket.gethostname()} {os.getpid()}").write_text(item.nodeid)
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lose", choices=("worker", "host"), default="worker", help="of node2")
    parser.add_argument("--after", type=int, default=2, help="in its how manieth point (default: %(default)s)")
    options = parser.parse_args()
    if problem := why_not():
        print(f"cannot be shown here: {problem}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkouts = {host: _checkout(folder / host) for host in ("controller", "node1", "node2")}
        running = folder / "running"
        running.mkdir()
        with hosts({host: checkouts[host] for host in ("node1", "node2")}) as made:
            for host in made.values():
                host.serve(RUNNING=str(running), OMP_NUM_THREADS="1")
            ran = _run(made, checkouts["controller"], running, options.lose, options.after)
        return _judge(ran, options.lose, checkouts)


def _checkout(folder: Path) -> Path:
    (folder / "suites").mkdir(parents=True)
    for stage in STAGES:
        shutil.copy(ROOT / "suites" / f"test_{stage}.py", folder / "suites")
    (folder / "pytest.ini").write_text(f"[pytest]\nocrsweep_grids = {GRIDS}\n")
    (folder / "conftest.py").write_text(CONFTEST)
    return folder


class Ran(NamedTuple):
    """Pytest's exit code, the point in which node2 lost a worker, or itself, and what was printed."""

    code: int
    lost: str
    printed: str


def _run(made: dict[str, Host], here: Path, running: Path, lose: str, after: int) -> Ran:
    through = [f"--px=id={name}//socket={host.address}:{PORT}" for name, host in made.items()]
    workers = [f"--tx=2*popen//via={name}" for name in made]
    words = ["pytest", "suites/", "-d", *through, *workers, "-v", "-p", "no:cacheprovider", "-p", "no:benchmark"]
    words += ["-k", "flash", "--ocrsweep-update", "--ocrsweep-report=out"]
    words += [f"--ocrsweep-set={option}" for option in OPTIONS]
    print("$", " ".join(words), flush=True)
    with (here / "printed").open("w") as printed:
        pytest = subprocess.Popen([sys.executable, "-m", *words], cwd=here, stdout=printed, stderr=subprocess.STDOUT)
        worker, item = _await_point(pytest, running, after)
        if item:
            time.sleep(0.3)  # in the midst
            os.kill(worker, signal.SIGKILL) if lose == "worker" else made["node2"].kill()
        code = pytest.wait()
    print((here / "printed").read_text())
    print(f"*** the {lose} of node2 was killed, process {worker}, in {item}", flush=True)
    return Ran(code, item, (here / "printed").read_text())


def _await_point(pytest: subprocess.Popen[bytes], running: Path, after: int) -> tuple[int, str]:
    """The process on node2 that is in its `after`th point, and the point; 0 and "" if pytest ends before."""
    seen: list[str] = []
    while pytest.poll() is None:
        for file in running.glob("node2 *"):
            item = file.read_text()
            if item and item not in seen:
                seen.append(item)
                if len(seen) == after:
                    return int(file.name.split()[1]), item
        time.sleep(0.05)
    return 0, ""


def _judge(ran: Ran, lose: str, checkouts: dict[str, Path]) -> int:
    document = json.loads((checkouts["controller"] / "out" / "sweep.json").read_text())
    print(f"\npytest ended with {ran.code}; sweep.json has:")
    for point in document["points"]:
        at = f"{point['stage']} {point['grid']} {point['attention']}"
        print(f"  {at}: {point['verdict']}, on {point['vendor']['gpu']} of {point['vendor']['host']}")
    written = {name: sorted(folder.rglob("baselines/**/*.json")) for name, folder in checkouts.items()}
    for name, files in written.items():
        print(f"baselines in the checkout of {name}: {', '.join(file.parent.name + '/' + file.name for file in files)}")
    on = Counter(point["vendor"]["host"] for point in document["points"])
    wanted, done = len(STAGES) * len(GRIDS.split(",")), len(document["points"])
    claims = {"a worker was lost in a point": bool(ran.lost)}
    if lose == "worker":
        claims["one verdict: pytest ended with 0"] = ran.code == 0
        claims[f"all {wanted} points were timed"] = done == wanted
    else:
        claims["the run ended with 2"] = ran.code == 2
        claims["a line says which worker cannot be replaced"] = (
            "on node2 was lost and cannot be replaced: " in ran.printed
        )
        claims["the points left are listed"] = f"no worker was left to run {wanted - done} points:" in ran.printed
    claims[f"both hosts took part ({dict(on)})"] = set(on) == {"node1", "node2"}
    claims["only the controller wrote baselines"] = [name for name in written if written[name]] == ["controller"]
    for claim, holds in claims.items():
        print(f"{'yes' if holds else 'NO '}  {claim}")
    return 0 if all(claims.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
