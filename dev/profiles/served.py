"""Judges plans by loads that vLLM served on an H200: the tables of docs/serving.md, and the constants of engine.host.

python dev/profiles/served.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean

import numpy as np

from pytest_ocrsweep import load_model
from pytest_ocrsweep.cli import measured
from pytest_ocrsweep.hardware.devices import Device
from pytest_ocrsweep.hardware.host_fit import FITTED, HostFit, LoadPlan, MeasuredLoad, fitted_host
from pytest_ocrsweep.model.analytic import Model
from pytest_ocrsweep.model.engine import Host
from pytest_ocrsweep.model.geometry import Workload
from pytest_ocrsweep.sweep.config import devices

RECORDED = Path(__file__).with_name("served.jsonl")
FOUR = [("3x2", 1, False), ("3x2", 8, False), ("3x2", 1, True), ("3x2", 8, True)]  # page, concurrency, encoder graphs
# What one H100 took on 2026-11-28, by another runner, from 100 new tokens of 3x2: no request of it is recorded.
PROBE = [
    MeasuredLoad(Workload("3x2"), 1, 8, False, 64e6, 1.61e6, 4.3),
    MeasuredLoad(Workload("3x2"), 8, 32, False, 603e6, 2.43e6, 8.9),
    MeasuredLoad(Workload("3x2"), 8, 32, True, 248e6, 2.03e6, 17.8),
]
SPEEDS = np.arange(0.7, 2.2, 0.025)
GOAL = 0.15


def recorded(model: Model, device: Device) -> list[MeasuredLoad]:
    return measured.loads(str(RECORDED), model, device)


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


def judged(plans: Sequence[LoadPlan], hosts: Sequence[Host]) -> str:
    """How far plans are off, in a line."""
    off = [each for plan, host in zip(plans, hosts, strict=True) for each in plan.off(host)]
    errors = [abs(each - 1) for each in off]
    near = sum(error <= GOAL for error in errors)
    factor = float(np.quantile([max(each, 1 / each) for each in off], 0.9))
    return (
        f"{len(off)} numbers: {100 * mean(errors):.1f} % off on average, {near} within {100 * GOAL:.0f} %, "
        f"{100 * max(errors):.0f} % at most, nine of ten within a factor {factor:.2f}"
    )


def scaled(host: Host, speed: float) -> Host:
    """A host that takes so many times as long for everything."""
    return replace(host, **{name: getattr(host, name) * speed for name in FITTED})


def speed_of(plan: LoadPlan, host: Host) -> float:
    """The speed of the host under which the plan of one load is nearest to it."""
    return float(min(SPEEDS, key=lambda speed: sum(abs(np.log(each)) for each in plan.off(scaled(host, speed)))))


def energy(plans: Sequence[LoadPlan], host: Host) -> Iterator[str]:
    """The board's power, by least squares of relative errors over all loads."""
    rows, joules = [], []
    for plan, line in zip(plans, RECORDED.read_text(encoding="utf-8").splitlines(), strict=True):
        written, served = json.loads(line), plan.served(host)
        busy_s = sum(ns for part, ns in served.busy_ns.items() if part != "launches") / 1e9
        rows.append([written["wall_ns"] / 1e9 - busy_s, busy_s, served.tensor_flops / 1e15])
        joules.append(written["energy_mj"] / 1e3)
    relative = np.array(rows) / np.array(joules)[:, None]
    found = np.linalg.lstsq(relative, np.ones(len(joules)), rcond=None)[0]
    off = np.abs(relative @ found - 1)
    yield f"power: idle_w {found[0]:.0f}, running_w {found[1]:.0f}, fj_per_flop {found[2]:,.0f}"
    yield f"  {len(joules)} loads, {100 * off.mean():.1f} % off on average, {100 * off.max():.1f} % at most"


def main() -> None:
    model, device, other = load_model(engine="vllm"), devices()["h200"], devices()["h100"]
    loads = recorded(model, device)
    plans = LoadPlan.each(model, device, loads)
    probe = LoadPlan.each(model, other, PROBE)
    host, four, every = model.engine.host, from_four(model, device, loads).host, fitted_host(model, device, loads).host
    print("\n".join(table(plans, four)))
    unseen = [plan for plan in plans if names(plan.load) not in FOUR]
    print("from four loads, the others:", judged(unseen, [four] * len(unseen)))
    print("engine.host:", judged(plans + probe, [host] * len(plans + probe)))
    print("engine.host, on the H100 alone:", judged(probe, [host] * len(probe)))
    print(
        "fitted to all:",
        ", ".join(f"{name} {getattr(every, name):,.0f}" for name in FITTED),
        judged(plans, [every] * 18),
    )
    speeds = [speed_of(plan, every) for plan in plans]
    print("speeds:", " ".join(f"{speed:.2f}" for speed in speeds))
    print("with each load's speed:", judged(plans, [scaled(every, speed) for speed in speeds]))
    print("\n".join(energy(plans, every)))


if __name__ == "__main__":
    main()
