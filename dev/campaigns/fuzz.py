"""Coverage-guided fuzzing of all that reads what others wrote: a right value or one clear line, and nothing else.

    python dev/campaigns/fuzz.py [PARSER ...] [--cases 100000] [--seed 0] [--save FOLDER]

Each parser of parsers.py runs in a process of its own under atheris (libFuzzer), from real files and with
damage that keeps to their structure (damage.py). A case is a crash if it ends in anything but a value that
holds what it should or the package's own ValueError on one printable line, if it takes more than CPU_S of CPU or
raises the process's peak memory by more than 200 MiB; one that never ends is stopped after HANG_S.

Prints for each parser: cases, seconds, how many were accepted and refused, the coverage of the seeds and at the end
(libFuzzer's count of edges and comparisons), and crashes. Exits with 1 after a crash; its input is in --save, and
`python dev/campaigns/fuzz.py PARSER --replay FILE` shows its traceback. The same seed gives the same cases.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from hashlib import sha1
from pathlib import Path
from random import Random
from typing import Any

import parsers
from parsers import PARSERS, Parser

CPU_S, HANG_S = 3, 60  # a second of code that is not instrumented, which takes three times as long
ADDRESSES = 4 << 30  # that a process may reserve beyond what it has when it starts
INSTRUMENTED = ["pytest_ocrsweep"]
REFUSED, ACCEPTED = "refused", "accepted"


class Crash(Exception):
    """What one case should not have done."""


def case(parser: Parser, data: bytes, folder: Path) -> str:
    """What became of one input. Raises Crash, or what the parser should not have raised."""
    began, peak = time.process_time(), _peak()
    try:
        parser.take(data, folder)
        outcome = ACCEPTED
    except ValueError as error:
        check_refusal(error)
        outcome = REFUSED
    if (took := time.process_time() - began) > CPU_S:
        raise Crash(f"slow: {took:.0f} s of CPU")
    if (grown := _peak() - peak) > parser.memory:
        raise Crash(f"memory: the peak rose by {grown >> 20} MiB")
    return outcome


def check_refusal(error: ValueError) -> None:
    """Raises it again where it is not of this package, Crash where it is no clear line."""
    if not type(error).__module__.startswith("pytest_ocrsweep."):
        raise error
    lines = str(error).split("\n") if type(error).__name__ in parsers.A_LINE_A_PROBLEM else [str(error)]
    if not all(line.isprintable() and 10 <= len(line) <= 2000 for line in lines):
        raise Crash(f"no clear line: {type(error).__name__} {str(error)!r:.300}") from error


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def fuzz(name: str, cases: int, seed: int, save: Path, result: Path) -> None:
    """Run one parser in this process, which libFuzzer ends; `result` gets what was found."""
    import atheris  # type: ignore[import-untyped]

    parser, found = PARSERS[name], {"cases": 0, ACCEPTED: 0, REFUSED: 0}
    crashes: dict[str, str] = {}
    with tempfile.TemporaryDirectory(dir=_memory_disk()) as temporary:
        folder, corpus = Path(temporary) / "case", Path(temporary) / "corpus"
        folder.mkdir()
        corpus.mkdir()
        with atheris.instrument_imports(include=INSTRUMENTED):
            seeds = parser.seeds(folder)
            for seed_input in seeds:  # each is accepted, and imports what is imported late
                parser.take(seed_input, folder)
        for number, seed_input in enumerate(seeds):
            (corpus / f"{number:03}").write_bytes(seed_input)
        reserved = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (reserved + ADDRESSES,) * 2)

        def run(data: bytes) -> None:
            found["cases"] += 1
            try:
                found[case(parser, data, folder)] += 1
            except Exception as error:
                what = _signature(error)
                if what not in crashes:
                    saved = save / f"{name}-{sha1(data).hexdigest()[:10]}"
                    saved.write_bytes(data)
                    crashes[what] = str(saved)
            if found["cases"] % 500 == 0 or found["cases"] >= cases:
                result.write_text(json.dumps({**found, "crashes": crashes}))

        def mutate(data: bytes, most: int, seed: int) -> bytes:
            def raw(some: bytes) -> bytes:
                return bytes(atheris.Mutate(some, max(len(some) * 2, 64)))

            try:
                return parser.damage(data, Random(seed), raw)[:most]
            except Exception:  # what is damaged already may have lost what this damage needs
                return raw(data)[:most]

        longest = max(65_536, 2 * max(map(len, seeds)))
        options = [f"-runs={cases}", f"-seed={seed + 1}", f"-timeout={HANG_S}", "-rss_limit_mb=0", "-verbosity=1"]
        options += [f"-max_len={longest}", f"-artifact_prefix={save}/{name}-hang-"]
        atheris.Setup([sys.argv[0], *options, str(corpus)], run, custom_mutator=mutate)
        atheris.Fuzz()


def _signature(error: Exception) -> str:
    """One for each place that crashes, not for each input."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "pytest_ocrsweep" in frame.filename]
    at = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
    return f"{type(error).__name__} at {at}: {re.sub('[0-9]+', 'N', ' '.join(str(error).split()))[:80]!r}"


def _memory_disk() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def campaign(name: str, cases: int, seed: int, save: Path) -> dict[str, Any]:
    """Run one parser in a process of its own; gives what its line in the table says."""
    result = save / f"{name}.json"
    result.unlink(missing_ok=True)
    command = [sys.executable, __file__, name, f"--cases={cases}", f"--seed={seed}", f"--save={save}", "--child"]
    environment = {**os.environ, "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"}
    began, coverage, last = time.monotonic(), [0], ""
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace"
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            last = line.strip() or last
            if match := re.match(r"#\d+\s+\w+\s+cov: (\d+)", line):
                coverage.append(int(match[1]))
            elif "ERROR: libFuzzer" in line or "Traceback" in line or line.startswith(" "):
                print(line, end="", file=sys.stderr)
    found: dict[str, Any] = {"cases": 0, ACCEPTED: 0, REFUSED: 0, "crashes": {}}
    if result.exists():
        found = json.loads(result.read_text())
    if found["cases"] < cases:
        found["crashes"][f"stopped with {process.returncode}: {last:.200}"] = str(save)
    result.unlink(missing_ok=True)
    return {**found, "seconds": time.monotonic() - began, "coverage": (coverage[1:2] + coverage[-1:])}


def main() -> int:
    about = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    about.add_argument("parsers", metavar="PARSER", nargs="*", help=f"of {', '.join(PARSERS)} (default: all)")
    about.add_argument("--cases", type=int, default=100_000, help="cases for each (default: %(default)s)")
    about.add_argument("--seed", type=int, default=0, help="another one gives other cases (default: %(default)s)")
    about.add_argument("--save", type=Path, help="where inputs that crash are kept (default: a new temporary folder)")
    about.add_argument("--replay", type=Path, metavar="FILE", help="run this input alone, with its traceback")
    about.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = about.parse_args()
    names = options.parsers or list(PARSERS)
    if unknown := [name for name in names if name not in PARSERS]:
        about.error(f"no parser {unknown[0]!r}: choose from {', '.join(PARSERS)}")
    if options.replay:
        with tempfile.TemporaryDirectory() as folder:
            PARSERS[names[0]].seeds(Path(folder))
            print(case(PARSERS[names[0]], options.replay.read_bytes(), Path(folder)))
        return 0
    save = options.save or Path(tempfile.mkdtemp(prefix="ocrsweep-fuzz-"))
    save.mkdir(parents=True, exist_ok=True)
    if options.child:
        fuzz(names[0], options.cases, options.seed, save, save / f"{names[0]}.json")
        return 0
    failed = False
    print(f"{'parser':<12}{'cases':>9}{'seconds':>9}{'accepted':>10}{'refused':>10}  {'coverage':<16}crashes")
    for name in names:
        found = campaign(name, options.cases, options.seed, save)
        grew = " to ".join(map(str, found["coverage"]))
        numbers = f"{found['cases']:>9,}{found['seconds']:>9.0f}{found[ACCEPTED]:>10,}{found[REFUSED]:>10,}"
        print(f"{name:<12}{numbers}  {grew:<16}{len(found['crashes'])}", flush=True)
        for what, where in found["crashes"].items():
            print(f"    {what}\n        {where}", flush=True)
        failed |= bool(found["crashes"])
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
