"""Rules for settings that are well typed but may not fit together."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from operator import attrgetter

from ..errors import ConfigError
from ..files.text import quoted
from ..hardware.devices import NO_FP8
from ..model.architecture import DTYPES, ROPE
from ..model.engine import REFERENCE
from ..model.geometry import RESOLUTIONS
from ..model.layers.moe import EXPERTS
from ..model.layers.patch_encoder import NORMS
from ..model.layers.patch_merger import MERGERS
from ..model.native_resolution import ENLARGE, NATIVE
from ..model.precision import NATIVE_NAME
from .engine_rules import formats, switches
from .model_rules import of_model
from .settings import Settings, check_choice

CHOICES: dict[str, Collection[str]] = {
    "model.dtype": DTYPES,
    "model.decoder.prefill_experts": EXPERTS,
    "model.decoder.decode_experts": EXPERTS,
    "model.decoder.rope": ROPE,
    "model.tiling.enlarge": ENLARGE,
}
OF_PATCHES: dict[str, Collection[str]] = {"model.patch_encoder.norm": NORMS, "model.patch_encoder.merger": MERGERS}
SHORTEST_MS, LONGEST_MS = 50, 60_000  # a counter of energy steps every 10 to 100 ms


def validate(settings: Settings) -> None:
    """Raises ConfigError, in one line, for values that are well typed but do not fit together."""
    for key, choices in CHOICES.items():
        check_choice(key, attrgetter(key)(settings), choices)
    if settings.model.patch_encoder is not None:
        for key, choices in OF_PATCHES.items():
            check_choice(key, attrgetter(key)(settings), choices)
    for mode in settings.model.tiling.modes:
        check_choice("model.tiling.modes", mode, (*RESOLUTIONS, NATIVE))
    check_choice("workload.resolution", settings.workload.resolution, settings.model.tiling.modes)
    for holds, otherwise in _rules(settings):
        if not holds:
            raise ConfigError(otherwise)


def require_one_page(settings: Settings) -> Settings:
    """The settings. Raises ConfigError for several pages in a prompt: no file of points or times has room for them."""
    pages = settings.workload.pages
    if pages > 1:
        raise ConfigError(
            f"workload.pages={pages} is priced, and neither recorded nor timed: "
            f"ocrsweep cost 1x1 --set workload.pages={pages}"
        )
    return settings


def require_profiled(settings: Settings) -> Settings:
    """The settings. Raises ConfigError for all but one page on the reference model, whose lines alone are measured."""
    engine, precision = settings.engine, settings.precision
    if not engine.is_reference:
        what = f"the lines of {engine.name} are counted, and not measured;"
        raise ConfigError(what, f"leave it out, or choose engine={REFERENCE.name}")
    if not precision.is_native:
        what = f"lines with weights in {precision.name} are counted, and not measured;"
        raise ConfigError(what, f"leave it out, or choose precision={NATIVE_NAME}")
    return require_one_page(settings)


def _rules(settings: Settings) -> Iterator[tuple[bool, str]]:
    """Whether each rule holds, and the message if it does not; a later rule may rely on an earlier one."""
    yield from of_model(settings)
    yield (
        re.fullmatch(r"cpu|cuda(:[0-9]+)?", settings.vendor.device) is not None,
        f"vendor.device must be cpu, cuda or cuda:INDEX, got {quoted(settings.vendor.device)}",
    )
    window = settings.vendor.energy_ms
    yield (
        window is None or SHORTEST_MS <= window <= LONGEST_MS,
        f"vendor.energy_ms must be from {SHORTEST_MS} to {LONGEST_MS:,}, got {window or 0:,}",
    )
    yield from switches(settings.engine)
    yield from formats(settings.precision, settings.engine)
    yield (
        not settings.precision.fp8_products or settings.device.fp8_flops_per_s is not None,
        f"{settings.device.name} {NO_FP8}",
    )
