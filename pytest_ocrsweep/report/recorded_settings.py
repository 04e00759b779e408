"""The settings that a recorded model's name stands for, and whether what is priced beside it has the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..errors import ReportError
from ..files.near_miss import did_you_mean
from ..files.text import quoted
from ..model.analytic import Model
from ..model.engine import KV_BYTES, REFERENCE
from ..model.precision import NATIVE
from .comparison import ComparisonKey, Side

CACHED = "-kv-"  # before an engine's type of the KV cache, in the name that its numbers are recorded under
DEFAULTS = {"engine": REFERENCE.name, "engine.kv_dtype": REFERENCE.kv_dtype, "precision": NATIVE.name}
BY_SETTINGS = ("tensor_flops", "weight_bytes", "kv_cache_bytes")  # another model, engine or precision moves one of them


def named(recorded_as: str) -> dict[str, str]:
    """The settings by key, from a name such as `deepseek-ocr/vllm-kv-fp8/gptq-int8`."""
    from ..sweep.search_path import choices

    model, *others = recorded_as.split("/")
    engine, kv_dtype, precision = DEFAULTS.values()
    for position, name in enumerate(others):
        plain, cached, dtype = name.rpartition(CACHED)
        if cached and dtype in KV_BYTES:
            engine, kv_dtype = plain, dtype
        elif position == 0 and (len(others) > 1 or name in choices("engine")):
            engine = name
        else:
            precision = name
    return {"model": model, "engine": engine, "engine.kv_dtype": kv_dtype, "precision": precision}


def overrides(side: Side, typed: Sequence[str]) -> list[str]:
    """Overrides that price the recorded model of `side`, but for what is `typed`. Raises ReportError for an unknown."""
    from ..sweep.search_path import choices

    given = {key for key, _, _ in (text.partition("=") for text in typed)}
    chosen = []
    for key, value in named(str(side.about["model"])).items():
        if key in given or f"{key}.name" in given or value == DEFAULTS.get(key):
            continue
        if key in ("model", "engine", "precision") and value not in choices(key):
            raise ReportError(
                f"{side.name} was counted with {key}={value}, and there is no {key} of that name"
                f"{did_you_mean(value, choices(key))}:",
                f"name the folder that has it (--config-dir DIR), or give its figures (--set {key}.name={value} …)",
            )
        chosen.append(f"{key}={value}")
    return [*chosen, *typed]


def require_same(side: Side, other: str, priced: Model, typed: Sequence[str]) -> None:
    """Raises ReportError, with the settings that differ, if `other` is priced for other ones than `side` has."""
    was, now = named(str(side.about["model"])), named(priced.recorded_as)
    keys = [key for key in was if was[key] != now[key]]
    if not keys:
        return
    mine, its = (", ".join(f"{key}={values[key]}" for key in keys) for values in (was, now))
    wrong = [quoted(text) for text in typed if text.partition("=")[0].removesuffix(".name") in keys]
    raise ReportError(
        f"{side.name} was counted with {mine}, and {other} is priced with {its}: their floors are of other work;",
        f"leave {' and '.join(wrong)} out, or compare with a report of {its}",
    )


def require_same_numbers(
    side: Side, other: str, key: ComparisonKey, priced: Mapping[str, int], typed: Iterable[str]
) -> None:
    """Raises ReportError if the priced point has other counts: some setting differs that no name holds."""
    numbers = side.points[key].numbers
    differing = [name for name in BY_SETTINGS if name in numbers and numbers[name] != priced[name]]
    if differing:
        name, settings = differing[0], ", ".join(typed) or "the defaults"
        raise ReportError(
            f"{side.name} was counted with other settings than {other} is priced with ({settings}): {name} of {key} is "
            f"{numbers[name]:,} there and {priced[name]:,} here;",
            "give the settings of that run, each as --set KEY=VALUE",
        )
