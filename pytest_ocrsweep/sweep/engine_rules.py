"""Rules for an engine's switches and a precision, which are well typed but may not fit together."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields

from ..files.text import quoted
from ..model.attention import ATTENTION
from ..model.engine import ANY, KV_BYTES, REFERENCE, Engine
from ..model.precision import NATIVE, PRODUCTS, Precision, wrong_rule

# Fields of an engine that change no work of a point.
OF_A_RUN = {"name", "python", "folder", "url", "start", "host", "captured_views", "captured_crops"}
WEIGHTS = ("random", "real")
TAKEN = ("timed", "own", "serving", "dram", "vllm", "original", "transformers")  # folders beside that of a precision


def switches(engine: Engine) -> Iterator[tuple[bool, str]]:
    """What the switches of an engine may be together."""
    yield (
        re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,29}", engine.name) is not None and engine.name != "timed",
        "engine.name is a folder of its baselines: at most 30 small letters, digits, '_' and '-', and not 'timed', "
        f"got {quoted(engine.name)}",
    )
    unknown = [name for name in engine.attentions if name not in ATTENTION]
    yield not unknown, f"engine.attentions must be of {', '.join(ATTENTION)}: got {quoted(', '.join(unknown))}"
    fused = [f"engine.{name}=false" for name in engine.fuses]
    yield (
        not fused or bool(unknown) or all(ATTENTION[name].fused for name in engine.attentions),
        f"engine.attentions must be [flash] for an engine that fuses; else set {', '.join(fused)}",
    )
    yield engine.start.weights in WEIGHTS, f"engine.start.weights must be one of {', '.join(WEIGHTS)}"
    reached = [name for name in ("python", "url") if getattr(engine, name)]
    yield len(reached) < 2, "engine.python and engine.url exclude each other: keep one"
    yield (
        not reached or engine.name != REFERENCE.name,
        f"engine.{'/'.join(reached)} is for another engine than {REFERENCE.name}: choose it, as engine=vllm",
    )
    for name in ("captured_batches", "captured_views", "captured_crops"):
        sizes = getattr(engine, name)
        yield (
            list(sizes) == sorted(set(sizes)),
            f"engine.{name} must be different and in order, got {list(sizes)}",
        )
    yield (
        bool(engine.captured_views) == bool(engine.captured_crops),
        "engine.captured_views and engine.captured_crops go together: give both, or leave out both",
    )
    yield (
        engine.kv_dtype in KV_BYTES,
        f"engine.kv_dtype must be one of {', '.join(KV_BYTES)}, got {quoted(engine.kv_dtype)}",
    )
    yield (
        engine.kv_block_tokens is not None or engine.kv_dtype == "half",
        f"engine.kv_dtype {quoted(engine.kv_dtype)} is for an engine whose cache lies in blocks, as engine=vllm",
    )
    percent = engine.host.memory_percent
    yield percent <= 100, f"engine.host.memory_percent must be at most 100, got {percent:g}"
    switched = [each.name for each in fields(Engine) if each.name not in OF_A_RUN | {"most_crops", "most_positions"}]
    odd = [name for name in switched if getattr(engine, name) != getattr(REFERENCE, name)]
    yield (
        engine.name != REFERENCE.name or not odd,
        f"engine.name={REFERENCE.name} has the reference model's switches: give it another name, or leave out "
        f"{', '.join(f'engine.{name}' for name in odd)}",
    )


def formats(precision: Precision, engine: Engine) -> Iterator[tuple[bool, str]]:
    """What a precision may say, and whether the engine has it."""
    yield (
        re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,29}", precision.name) is not None and precision.name not in TAKEN,
        "precision.name is a folder of its baselines: at most 30 small letters, digits, '_' and '-', and none of "
        f"{', '.join(TAKEN)}, "
        f"got {quoted(precision.name)}",
    )
    for rule in precision.weights:
        wrong = wrong_rule(rule)
        yield wrong is None, f"precision.weights: {quoted(rule)}: {wrong}"
    last = precision.weights[-1]
    yield (
        last.split()[0] == "*",
        f"precision.weights must end with a rule for the rest, as '* half', got {quoted(last)}",
    )

    yield (
        precision.products in PRODUCTS,
        f"precision.products must be one of {', '.join(PRODUCTS)}, got {quoted(precision.products)}",
    )
    yield (
        not precision.fp8_products or engine.quantises,
        f"{engine.name} is not counted with products of 8-bit floats, as {precision.name} has them: use engine=vllm",
    )
    yield (
        not precision.is_native or precision == NATIVE,
        "precision.name=native has two bytes for every parameter: give other rules another name",
    )
    yield (
        ANY in engine.precisions or precision.name in engine.precisions,
        f"{engine.name} cannot run this model in {precision.name}: its precisions are {', '.join(engine.precisions)}",
    )
