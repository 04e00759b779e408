"""`ocrsweep compare A B --page`: one page on models or engines, side by side: its tokens, work, memory and time."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from ..errors import ArgumentError, ConfigError
from ..hardware import sizing
from ..hardware.serving import speeds
from ..model.limits import uncut
from ..model.positions import beyond
from ..model.stages import STAGES
from ..report.table import aligned, width
from ..sweep.catalogue import model_of
from ..sweep.settings import Settings, check_choice
from . import flags
from .speeds import shown

ROWS = {  # a number of `OnModel`: its heading, and what it is divided by
    "image_tokens": ("image tokens", 1),
    "vision_flops": ("vision, TFLOP", 1e12),
    "prefill_flops": ("prefill, TFLOP", 1e12),
    "decode_flops": ("decode, GFLOP a token", 1e9),
    "weight_bytes": ("weights, GB", 1e9),
    "kv_cache_bytes": ("KV cache, MB", 1e6),
    "needed_bytes": ("memory needed, GB", 1e9),
    "ttft_ns": ("time to first token, ms", 1e6),
    "tpot_ns": ("time per token, ms", 1e6),
    "pages_per_s": ("pages/s", 1),
    "most_pages_per_s": ("pages/s at most", 1),
}
WHOLE = ("image_tokens",)
ENGINE = "engine:"  # begins a side that is an engine


@dataclass(frozen=True, slots=True)
class OnModel:
    """What a page comes to on one model; times are None where the device has no calibration."""

    model: str
    grid: str
    image_tokens: int
    context_tokens: int
    vision_flops: int  # tensor FLOPs, as the next two
    prefill_flops: int
    decode_flops: float  # of one token, on average
    weight_bytes: int
    kv_cache_bytes: int  # at the end
    needed_bytes: int  # of the stage that needs most
    ttft_ns: int | None
    tpot_ns: int | None
    pages_per_s: float | None
    most_pages_per_s: float  # by floors
    reasons: tuple[str, ...]  # why its times are less certain than usual
    beyond: tuple[str, ...]  # what the model was not made for
    waits: bool  # whether times are without what the engine's host is known to take


def run(options: argparse.Namespace) -> int:
    """Prints the page on each side."""
    chosen = [_settings(name, options) for name in (options.a, options.b, *options.more)]
    if len({settings.model.patch_encoder is None for settings in chosen}) > 1 and not os.path.isfile(options.page):
        what = "is of crops for some of these models, and of tiles for the others"
        raise ArgumentError(f"--page {options.page} {what}: give the image of a page")
    found = [_on(settings, options.page) for settings in chosen]
    device, workload = chosen[0].device.name, chosen[0].workload
    if options.json:
        flags.print_json({"page": options.page, "device": device, "models": [asdict(each) for each in found]})
        return 0
    about = f"batch {workload.batch}, {workload.prompt_tokens} prompt and {workload.new_tokens} new tokens"
    modes = ", ".join(dict.fromkeys(settings.workload.resolution for settings in chosen))
    flags.show(f"{options.page}: {about}, {modes}, on {device}", *_tables(found, width()))
    notes = [f"{each.model}: wide: {reason}" for each in found for reason in each.reasons]
    notes += [f"{each.model}: {line}" for each in found for line in each.beyond]
    notes += [
        f"{each.model}: times are of kernels alone: ocrsweep plan adds its host's" for each in found if each.waits
    ]
    flags.show(*([""] if notes else []), *dict.fromkeys(notes), *_untimed(found))
    return 0


def _settings(name: str, options: argparse.Namespace) -> Settings:
    """Those of a model, or of an engine. Raises ArgumentError."""
    from ..sweep.config import compose
    from ..sweep.search_path import choices

    kind, chosen = "engine" if name.startswith(ENGINE) else "model", name.removeprefix(ENGINE)
    if kind == "engine" and options.engine is not None:
        raise ArgumentError(f"--engine {options.engine} and {name}: the sides name the engines; leave --engine out")
    try:
        check_choice(
            f"--page compares models and engines (engine:NAME): a side's {kind}", chosen, sorted(choices(kind))
        )
        return compose([f"{kind}={chosen}", *options.overrides])
    except ConfigError as error:
        raise ArgumentError(str(error)) from None


def _on(settings: Settings, page: str) -> OnModel:
    work, model = flags.workload(page, settings), model_of(settings)
    ledgers = {stage: model.ledger(stage, work) for stage in STAGES}
    memory, speed = sizing.memory(model, work, "flash"), speeds(model, work, settings.device)
    flops = {stage: ledger.total().tensor_flops for stage, ledger in ledgers.items()}
    expected = speed.expected
    return OnModel(
        model=model.title,
        grid=str(work.grid),
        image_tokens=work.image_tokens,
        context_tokens=work.context_tokens,
        vision_flops=flops["vision"],
        prefill_flops=flops["prefill"],
        decode_flops=flops["decode"] / (work.new_tokens * work.batch),
        weight_bytes=ledgers["prefill"].weight_bytes,
        kv_cache_bytes=ledgers["decode"].kv_cache_bytes,
        needed_bytes=max(part.total_bytes for part in memory),
        ttft_ns=expected.ttft_ns if expected else None,
        tpot_ns=expected.tpot_ns if expected else None,
        pages_per_s=expected.pages_per_s if expected else None,
        most_pages_per_s=speed.floor.pages_per_s,
        reasons=speed.reasons,
        beyond=(
            *uncut(settings.model, settings.engine, [work]),
            *beyond(settings.model, ((stage, work) for stage in STAGES)),
        ),
        waits=settings.engine.host.step_ns is not None,
    )


def _tables(found: list[OnModel], most: int | None) -> Iterator[str]:
    """Tables one below the other, each of as many sides as stand in `most` columns; one of two says what B has more."""
    pair, left = len(found) == 2, found
    while left:
        tables = [aligned([*_cells(left[:sides], pair=pair)]) for sides in range(1, len(left) + 1)]
        fits = [sides for sides, table in enumerate(tables, 1) if most is None or max(map(len, table)) <= most]
        sides = len(left) if pair else max(fits, default=1)
        yield from ("", *tables[sides - 1])
        left = left[sides:]


def _cells(found: list[OnModel], *, pair: bool) -> Iterator[list[str]]:
    """A row for each number; of a pair, with how much more B has than A."""
    pair = pair and len(found) == 2
    yield ["", *(each.model for each in found), *(["B than A"] if pair else [])]
    yield ["grid", *(each.grid for each in found), *([""] if pair else [])]
    for name, (heading, unit) in ROWS.items():
        values = [getattr(each, name) for each in found]
        if None not in values:
            form = "{:,}" if name in WHOLE else "{}"
            numbers = [form.format(number if name in WHOLE else shown(number / unit)) for number in values]
            more = [f"{100 * (values[1] / values[0] - 1):+.1f} %" if values[0] else "-"] if pair else []
            yield [heading, *numbers, *more]


def _untimed(found: list[OnModel]) -> list[str]:
    return [] if found[0].ttft_ns is not None else ["no times: the device has no calibration; floors bound them"]
