"""Judges plans by loads that vLLM served on three H200s: the tables of docs/serving.md, and `engine.host`.

python dev/profiles/served.py
"""

from __future__ import annotations

import gzip
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, mean

import numpy as np

from pytest_ocrsweep import load_model
from pytest_ocrsweep.cli import measured
from pytest_ocrsweep.hardware.devices import Device
from pytest_ocrsweep.hardware.host_fit import FITTED, HostFit, LoadPlan, MeasuredLoad, fitted_host
from pytest_ocrsweep.model.analytic import Model
from pytest_ocrsweep.model.engine import Host
from pytest_ocrsweep.model.geometry import Workload
from pytest_ocrsweep.sweep.config import devices

HERE = Path(__file__).parent
RECORDED = HERE / "served.jsonl"
MACHINES = {  # of one H200 each
    "first": RECORDED,  # 6 rounds of each load without encoder graphs, 11 with them
    "second": HERE / "served-second.jsonl.gz",  # 3 rounds and 6
    "once": HERE / "served-once.jsonl.gz",  # a round
}
FOUR = [("3x2", 1, False), ("3x2", 8, False), ("3x2", 1, True), ("3x2", 8, True)]  # page, concurrency, encoder graphs
# What one H100 took on 2026-11-28, by another runner, from 100 new tokens of 3x2: no request of it is recorded.
PROBE = [
    MeasuredLoad(Workload("3x2"), 1, 8, False, 64e6, 1.61e6, 4.3),
    MeasuredLoad(Workload("3x2"), 8, 32, False, 603e6, 2.43e6, 8.9),
    MeasuredLoad(Workload("3x2"), 8, 32, True, 248e6, 2.03e6, 17.8),
]
GOAL = 0.15


def text_of(path: Path) -> str:
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode()


def recorded(model: Model, device: Device, path: Path = RECORDED) -> list[MeasuredLoad]:
    """Its loads, each by the medians over its rounds."""
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / RECORDED.name
        plain.write_text(text_of(path), encoding="utf-8")
        return measured.loads(str(plain), model, device)


def names(load: MeasuredLoad) -> tuple[str, int, bool]:
    return str(load.work.grid), load.concurrency, load.encoder_graphs


def from_four(model: Model, device: Device, loads: Sequence[MeasuredLoad]) -> HostFit:
    return fitted_host(model, device, [load for load in loads if names(load) in FOUR])


def table(plans: Sequence[LoadPlan], fit: Host) -> Iterator[str]:
    """Measured and planned, by a host that the four loads of FOUR were fitted to."""
    head = "measured | planned"
    yield f"| page | concurrency | encoder graphs | TTFT ms, {head} | TPOT ms, {head} | pages/s, {head} |"
    yield "|---|--:|---|" + "--:|" * 6
    for plan in plans:
        load, found = plan.load, plan.served(fit)
        assert load.tpot_ns is not None
        grid, concurrency, graphs = names(load)
        mark = "\\*" if names(load) in FOUR else ""
        cells = [
            f"{load.ttft_ns / 1e6:,.0f} | {found.ttft_ns / 1e6:,.0f}",
            f"{load.tpot_ns / 1e6:.2f} | {found.tpot_ns / 1e6:.2f}",
            f"{load.pages_per_s:.1f} | {1e9 / found.page_ns:.1f}",
        ]
        yield f"| {grid}{mark} | {concurrency} | {'yes' if graphs else 'no'} | {' | '.join(cells)} |"


def errors(plans: Sequence[LoadPlan], host: Host) -> list[float]:
    """Planned over measured, of all numbers."""
    return [each for plan in plans for each in plan.off(host)]


def judged(off: Sequence[float]) -> str:
    """How far plans are off, in a line."""
    apart = [abs(each - 1) for each in off]
    near = sum(error <= GOAL for error in apart)
    factor = float(np.quantile([max(each, 1 / each) for each in off], 0.9))
    return (
        f"{len(off)} numbers: {100 * mean(apart):.1f} % off on average, {near} within {100 * GOAL:.0f} %, "
        f"{100 * max(apart):.0f} % at most, nine of ten within a factor {factor:.2f}"
    )


def middle(model: Model, hosts: Sequence[Host]) -> Host:
    """The host between some: the geometric mean of each constant."""
    means = {name: float(np.exp(fmean(np.log([getattr(host, name) for host in hosts])))) for name in FITTED}
    return replace(model.engine.host, **means)


def joules(plans: Sequence[LoadPlan], host: Host, path: Path, device: Device) -> str:
    """What the board took for each load, on average over its rounds, beside what the device's file says."""
    taken: dict[tuple[str, int, bool], list[float]] = defaultdict(list)
    for line in text_of(path).splitlines():
        written = json.loads(line)
        taken[written["page"], written["concurrency"], written["encoder_graphs"]].append(written["energy_mj"] / 1e3)
    off = []
    for plan, measured_joules in zip(plans, taken.values(), strict=True):
        served = plan.served(host)
        busy_s = sum(ns for part, ns in served.busy_ns.items() if part != "launches") / 1e9
        wall_s = plan.load.pages / plan.load.pages_per_s
        assert device.power is not None
        off.append(device.power.joules(wall_s, min(busy_s, wall_s), served.tensor_flops) / fmean(measured_joules))
    return f"joules by the file of {device.name}: {judged(off)}"


def main() -> None:
    model, device = load_model(engine="vllm"), devices()["h200"]
    plans = {name: LoadPlan.each(model, device, recorded(model, device, path)) for name, path in MACHINES.items()}
    probe = LoadPlan.each(model, devices()["h100"], PROBE)
    hosts = {}
    for name, each in plans.items():
        loads = [plan.load for plan in each]
        four, hosts[name] = from_four(model, device, loads).host, fitted_host(model, device, loads).host
        if MACHINES[name] == RECORDED:
            print("\n".join(table(each, four)))
        unseen = [plan for plan in each if names(plan.load) not in FOUR]
        print(f"{name}: from four loads, the others:", judged(errors(unseen, four)))
        print("  fitted to all:", judged(errors(each, hosts[name])))
        print("  ", ", ".join(f"{constant} {getattr(hosts[name], constant):,.0f}" for constant in FITTED))
        print("  ", joules(each, hosts[name], MACHINES[name], device))
    others = [
        off
        for name, each in plans.items()
        for off in errors(each, middle(model, [host for other, host in hosts.items() if other != name]))
    ]
    between = middle(model, list(hosts.values()))
    print("the mean:", ", ".join(f"{constant} {getattr(between, constant):,.0f}" for constant in FITTED))
    print("each machine by the mean of the others:", judged(others))
    print("an H100, by the mean:", judged(errors(probe, between)))


if __name__ == "__main__":
    main()
