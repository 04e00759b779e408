"""Two hosts, each a network namespace of this machine, time one sweep; in its midst one of their workers is killed.

    python dev/campaigns/hosts.py                 a worker of node2 is killed: another takes its place
    python dev/campaigns/hosts.py --lose kill     all of node2 is killed: node1 does the rest
    python dev/campaigns/hosts.py --lose network  the network of node2 is cut, without a word

Each host has a checkout of its own, this one's controller a third. What is timed is the tiny model, on the CPU. Shows
what pytest says and, from what it wrote, where each point was timed. Ends with 1 unless the verdict is there, each
point was timed once, both hosts took part, and the controller's checkout alone has the baselines.

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

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests"))
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
    parser.add_argument("--lose", choices=("worker", "kill", "network"), default="worker", help="of node2")
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
            code, lost = _run(made, checkouts["controller"], running, options.lose, options.after)
        return _judge(code, lost, checkouts)


def _checkout(folder: Path) -> Path:
    (folder / "suites").mkdir(parents=True)
    for stage in STAGES:
        shutil.copy(ROOT / "suites" / f"test_{stage}.py", folder / "suites")
    (folder / "pytest.ini").write_text(f"[pytest]\nocrsweep_grids = {GRIDS}\n")
    (folder / "conftest.py").write_text(CONFTEST)
    return folder


def _run(made: dict[str, Host], here: Path, running: Path, lose: str, after: int) -> tuple[int, str]:
    """Pytest's exit code, and the point in which node2 lost a worker, or itself."""
    through = [f"--px=id={name}//socket={host.address}:{PORT}" for name, host in made.items()]
    workers = [f"--tx=2*popen//via={name}" for name in made]
    words = ["pytest", "suites/", "-d", *through, *workers, "-v", "-p", "no:cacheprovider", "-p", "no:benchmark"]
    words += ["-k", "flash", "--ocrsweep-update", "--ocrsweep-report=out"]
    words += [f"--ocrsweep-set={option}" for option in OPTIONS]
    print("$", " ".join(words), flush=True)
    pytest = subprocess.Popen([sys.executable, "-m", *words], cwd=here)
    seen: list[str] = []
    while pytest.poll() is None and len(seen) < after:
        for file in running.glob("node2 *"):
            item = file.read_text()
            if item and item not in seen:
                seen.append(item)
                worker = int(file.name.split()[1])
        time.sleep(0.05)
    if len(seen) < after:
        return pytest.wait(), ""
    time.sleep(0.3)  # in the midst
    print(f"\n*** {lose} of node2, process {worker}, in {seen[-1]}", flush=True)
    if lose == "worker":
        os.kill(worker, signal.SIGKILL)
    else:
        {"kill": made["node2"].kill, "network": made["node2"].cut}[lose]()
    return pytest.wait(), seen[-1]


def _judge(code: int, lost: str, checkouts: dict[str, Path]) -> int:
    document = json.loads((checkouts["controller"] / "out" / "sweep.json").read_text())
    print(f"\npytest ended with {code}; sweep.json has:")
    for point in document["points"]:
        at = f"{point['stage']} {point['grid']} {point['attention']}"
        print(f"  {at}: {point['verdict']}, on {point['vendor']['gpu']} of {point['vendor']['host']}")
    written = {name: sorted(folder.rglob("baselines/**/*.json")) for name, folder in checkouts.items()}
    for name, files in written.items():
        print(f"baselines in the checkout of {name}: {', '.join(file.parent.name + '/' + file.name for file in files)}")
    on = Counter(point["vendor"]["host"] for point in document["points"])
    wanted = len(STAGES) * len(GRIDS.split(","))
    claims = {
        "a worker was lost in a point": bool(lost),
        "one verdict: pytest ended with 0": code == 0,
        f"all {wanted} points were timed": len(document["points"]) == wanted,
        f"both hosts took part ({dict(on)})": set(on) == {"node1", "node2"},
        "only the controller wrote baselines": [name for name in written if written[name]] == ["controller"],
    }
    for claim, holds in claims.items():
        print(f"{'yes' if holds else 'NO '}  {claim}")
    return 0 if all(claims.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
