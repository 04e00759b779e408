"""Experts that the reference model's routers choose, beside what uniform routing expects of them, as a table."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from statistics import fmean
from typing import Any, NamedTuple

import torch
from transformers.models.unlimited_ocr.modeling_unlimited_ocr import UnlimitedOcrTextTopkRouter

from pytest_ocrsweep.model.geometry import CropGrid, Workload
from pytest_ocrsweep.sweep.config import compose
from pytest_ocrsweep.vendor_model.timing import Vendor

BATCHES = (1, 8, 64)


class Routed(NamedTuple):
    """The distinct experts that each MoE layer's router chose for the tokens of one call."""

    call: str
    tokens: int
    distinct: list[int]
    experts: int
    chosen: int

    @property
    def expected(self) -> float:
        """The mean under uniform routing, E·(1 − (1 − k/E)^T)."""
        missed: float = (1 - self.chosen / self.experts) ** self.tokens
        return self.experts * (1 - missed)


def routed(vendor: Vendor, work: Workload, batches: tuple[int, ...] = BATCHES) -> Iterator[Routed]:
    """A decode step of each batch after the context of `work`, and its prefill."""
    decoder = vendor.model.decoder
    calls = [("decode", replace(work, batch=batch), batch) for batch in batches]
    calls.append(("prefill", work, work.batch * work.context_tokens))
    for stage, at, tokens in calls:
        with vendor.called(stage, at, "flash") as (built, call):
            distinct = [len(choices.unique()) for choices in choices_of(built, call)]
        what = f"{stage} {at.grid}, batch {at.batch}"
        yield Routed(what, tokens, distinct, decoder.experts, decoder.experts_per_token)


def choices_of(built: Any, call: Callable[[], Any]) -> list[torch.Tensor]:
    """[tokens, experts a token] of each router, in the order of the layers."""
    choices: list[torch.Tensor] = []
    routers = [module for module in built.modules() if isinstance(module, UnlimitedOcrTextTopkRouter)]
    hooks = [
        router.register_forward_hook(lambda _module, _inputs, output: choices.append(output[2])) for router in routers
    ]
    try:
        call()
    finally:
        for hook in hooks:
            hook.remove()
    return choices


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--grid", type=CropGrid.parse, default=CropGrid(1, 1), help="default: %(default)s")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="Hydra override")
    options = parser.parse_args()
    settings = compose(options.set)
    vendor = Vendor(settings.model, torch.device(settings.vendor.device), settings.vendor.seed)
    print("| call | tokens | experts expected | chosen, mean of the layers | fewest and most |")
    print("|---|--:|--:|--:|--:|")
    for row in routed(vendor, settings.workload.on(options.grid)):
        ends = f"{min(row.distinct)} to {max(row.distinct)}"
        print(f"| {row.call} | {row.tokens} | {row.expected:.2f} | {fmean(row.distinct):.2f} | {ends} |", flush=True)


if __name__ == "__main__":
    main()
