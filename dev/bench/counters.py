"""FLOP counters of others on the vendor's prefill, on the meta device: their time and their error, beside ours.

Each counts in a process of its own, since two of them leave patches behind. They are looked for in the environment that
runs this; `--install` puts them into a throwaway one on top of it.
"""

from __future__ import annotations

import json
import os
import site
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from pytest_ocrsweep import CropGrid, Model, Workload, load_model
from pytest_ocrsweep.model.attention import ATTENTION
from pytest_ocrsweep.vendor_model import build, dispatch_count, forward

WORK = Workload(CropGrid(2, 3))
COUNTS = 2  # the second is timed
LIMIT_S = 300
Count = Callable[[torch.nn.Module, torch.Tensor], int]


class Prefill(torch.nn.Module):
    """The vendor's prefill as others want it: one module, called with one tensor, that gives one."""

    def __init__(self, model: Model, attention: str) -> None:
        super().__init__()
        self.vendor = build.build(model.architecture, attention, model.architecture.decoder.prefill_experts, "meta")
        like, context = self.vendor.lm_head.weight, WORK.context_tokens
        self.page = forward.pages(WORK, like)
        self.ids = forward.prompt(WORK, self.vendor.config.image_token_id, like.device)
        self.positions = torch.arange(context, device=like.device)[None]
        self.mask = forward.causal_mask(context, context, like) if attention == "eager" else None

    def forward(self, pixels: torch.Tensor) -> Any:
        return forward.prefill(self.vendor, self.page, self.ids, self.positions, self.mask).logits


def torch_counter(module: torch.nn.Module, pixels: torch.Tensor) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        module(pixels)
    return int(counter.get_total_flops())


def ours_on_torch(module: torch.nn.Module, pixels: torch.Tensor) -> int:
    return dispatch_count.tensor_flops(lambda: module(pixels))


def calflops(module: torch.nn.Module, pixels: torch.Tensor) -> int:
    from calflops import calculate_flops

    flops, _macs, _parameters = calculate_flops(module, args=[pixels], print_results=False, output_as_string=False)
    return int(flops)


def fvcore(module: torch.nn.Module, pixels: torch.Tensor) -> int:
    from fvcore.nn import FlopCountAnalysis

    return 2 * int(FlopCountAnalysis(module, (pixels,)).total())  # it counts multiply-adds


def ptflops(backend: str) -> Count:
    def counted(module: torch.nn.Module, pixels: torch.Tensor) -> int:
        from ptflops import get_model_complexity_info

        macs, _parameters = get_model_complexity_info(
            module,
            (1,),
            input_constructor=lambda _: {"pixels": pixels},
            as_strings=False,
            print_per_layer_stat=False,
            backend=backend,
        )
        return 2 * int(macs)

    return counted


def deepspeed(module: torch.nn.Module, pixels: torch.Tensor) -> int:
    from deepspeed.profiling.flops_profiler import get_model_profile

    flops, _macs, _parameters = get_model_profile(
        module, args=[pixels], print_profile=False, as_string=False, warm_up=0
    )
    return int(flops)


COUNTERS: dict[str, tuple[str, Count]] = {  # by name: the package, how it counts
    "FlopCounterMode": ("torch", torch_counter),
    "  with our formulas": ("torch", ours_on_torch),
    "calflops": ("calflops", calflops),
    "fvcore": ("fvcore", fvcore),
    "ptflops, pytorch": ("ptflops", ptflops("pytorch")),
    "ptflops, aten": ("ptflops", ptflops("aten")),
    "DeepSpeed": ("deepspeed", deepspeed),
}


def one(name: str, attention: str) -> None:
    """Counts, and prints the FLOPs, the seconds and the package's version as the last line."""
    package, counted = COUNTERS[name]
    with torch.no_grad(), torch.device("meta"):
        module = Prefill(load_model(), attention).eval()
        for _ in range(COUNTS):
            start = time.perf_counter()
            flops = counted(module, module.page.views)
            took = time.perf_counter() - start
    print("\n" + json.dumps([flops, took, version(package)]))


def line(python: str, name: str, attention: str, tensor: int, every: int) -> str:
    """What a process of its own found, or why it found nothing."""
    command = [python, __file__, "--one", name, attention]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return f"not done after {LIMIT_S} s"
    if done.returncode:
        last = [text for text in done.stderr.splitlines() if text.strip() and not text.startswith("  ")][-1]
        return f"does not run: {last[:150]}"
    flops, took, release = json.loads(done.stdout.splitlines()[-1])
    return f"{flops:22,} {took:9.3f} s {flops / tensor - 1:+9.2%} {flops / every - 1:+9.2%}  {release}"


def installed(folder: str) -> tuple[str, dict[str, str]]:
    """A Python that sees this environment and the counters; and why one of them is not there."""
    venv.create(folder, with_pip=True)
    python = str(Path(folder) / "bin" / "python")
    (packages,) = Path(folder).glob("lib/python*/site-packages")
    under = [*site.getsitepackages(), str(Path(__file__).parents[2])]
    lines = [f"import site; site.addsitedir({path!r})" for path in under]
    (packages / "under.pth").write_text("\n".join(lines), encoding="utf-8")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "setuptools", "wheel"], check=True)
    failed = {}
    for package in dict.fromkeys(package for package, _ in COUNTERS.values() if package != "torch"):
        more = ["--no-build-isolation"] if package == "deepspeed" else []  # its setup imports torch
        environment = {**os.environ, "DS_BUILD_OPS": "0"}
        done = subprocess.run([*pip, *more, package], capture_output=True, text=True, env=environment)
        if done.returncode:
            failed[package] = f"does not install: {done.stderr.strip().splitlines()[-1][:150]}"
    return python, failed


def missing() -> dict[str, str]:
    """The counters that this environment lacks."""
    found = {}
    for package, _ in COUNTERS.values():
        try:
            version(package)
        except PackageNotFoundError:
            found[package] = "not installed here; --install puts it into a throwaway environment"
    return found


def main() -> None:
    if "--one" in sys.argv:
        one(*sys.argv[-2:])
        return
    model = load_model()
    with tempfile.TemporaryDirectory() as folder:
        python, absent = installed(folder) if "--install" in sys.argv else (sys.executable, missing())
        for attention in ATTENTION:
            for _ in range(COUNTS):  # as the others: the last is timed
                start = time.perf_counter()
                cost = model.ledger("prefill", WORK, attention).total()
                took = time.perf_counter() - start
            print(f"Prefill of grid {WORK.grid}, {attention}: FLOPs, time, error against tensor FLOPs and against all")
            all_share = cost.tensor_flops / cost.flops - 1
            print(f"  {'a ledger':20} {cost.tensor_flops:22,} {took:9.6f} s {0:+9.2%} {all_share:+9.2%}")
            for name, (package, _) in COUNTERS.items():
                reason = absent.get(package)
                found = reason or line(python, name, attention, cost.tensor_flops, cost.flops)
                print(f"  {name:20} {found}", flush=True)


if __name__ == "__main__":
    main()
