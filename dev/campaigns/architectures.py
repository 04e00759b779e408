"""Random small architectures that the settings accept, compared with the reference model on the meta device.

    python dev/campaigns/architectures.py              200 cases of new random seeds
    python dev/campaigns/architectures.py 20 --seed 7  20 cases from that seed on

A case compares all stages with both attentions: tensor and vector FLOPs, bytes read and written, and peak bytes must
be equal. Prints each difference with its seed, and a line at the end; the exit code is 1 if there was one.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator
from dataclasses import replace

from pytest_ocrsweep import CropGrid, Model, Workload
from pytest_ocrsweep.errors import ConfigError
from pytest_ocrsweep.model.architecture import DTYPES, Architecture, Clip, Decoder, QueryEncoder, Sam
from pytest_ocrsweep.model.attention import ATTENTION
from pytest_ocrsweep.model.geometry import PATCH, Tiling
from pytest_ocrsweep.model.layers.moe import EXPERTS
from pytest_ocrsweep.model.stages import STAGES
from pytest_ocrsweep.sweep.config import compose
from pytest_ocrsweep.sweep.rules import validate


def sam(draw: random.Random, out: int) -> Sam:
    heads, layers = draw.randint(1, 4), draw.randint(1, 4)
    return Sam(
        width=heads * draw.choice([2, 3, 5, 8, 16]),
        layers=layers,
        heads=heads,
        mlp_width=draw.choice([1, 7, 16, 64]),
        window=draw.choice([2, 3, 5, 7, 8, 13, 14, 16, 32, 40, 64, 80, 100]),
        global_layers=tuple(sorted(draw.sample(range(layers), draw.randint(0, layers)))),
        patch=PATCH,
        channels=draw.choice([1, 3, 4]),
        image_side=PATCH * draw.choice([1, 2, 14, 32, 40, 64, 80]),
        neck_width=draw.choice([1, 3, 8, 16]),
        downsample_widths=(draw.choice([1, 5, 8, 16]), out),
    )


def clip(draw: random.Random) -> Clip:
    heads, patch = draw.randint(1, 3), draw.choice([1, 7, 14])
    return Clip(
        width=heads * draw.choice([1, 2, 4, 5, 8, 16]),
        layers=draw.randint(1, 3),
        heads=heads,
        mlp_width=draw.choice([1, 7, 64]),
        patch=patch,
        image_side=patch * draw.choice([1, 8, 10, 16, 20, 30]),
        channels=draw.choice([1, 3]),
    )


def query_encoder(draw: random.Random) -> QueryEncoder:
    kv_heads = draw.choice([1, 2, 2, 3])
    heads = 1 if kv_heads == 1 else kv_heads * draw.randint(1, 4)
    return QueryEncoder(
        width=heads * 2 * draw.choice([1, 2, 4, 5, 8]),
        layers=draw.randint(1, 3),
        heads=heads,
        kv_heads=kv_heads,
        mlp_width=draw.choice([1, 7, 64, 400]),
        query_sides=(768, 1024),
        rope_theta=draw.choice([10_000, 1_000_000]),
    )


WITH_QUERIES = Tiling(("gundam", "base"), (1024, 1024), (768, 0), newlines=False)  # as the reference model has them


def decoder(draw: random.Random) -> Decoder:
    heads, layers, experts = draw.randint(1, 4), draw.randint(1, 4), draw.choice([1, 2, 3, 4, 8, 64])
    return Decoder(
        width=heads * 2 * draw.choice([1, 4, 8, 12, 16]),
        layers=layers,
        dense_layers=draw.randint(0, layers),
        heads=heads,
        kv_heads=heads,
        dense_width=draw.choice([1, 7, 32, 64]),
        experts=experts,
        experts_per_token=draw.randint(1, min(experts, 8)),
        shared_experts=draw.randint(1, 3),
        expert_width=draw.choice([1, 8, 12, 16, 24]),
        vocabulary=draw.choice([2, 3, 100, 512, 1001]),
        max_positions=draw.choice([100, 8192]),
        prefill_experts=draw.choice(list(EXPERTS)),
        decode_experts=draw.choice(list(EXPERTS)),
    )


def workload(draw: random.Random, tiling: Tiling) -> Workload:
    resolution = draw.choice(tiling.modes)
    cut = tiling.sides(resolution).crop_side is not None and draw.random() < 0.7
    grid = CropGrid(draw.randint(1, 3), draw.randint(1, 3)) if cut else CropGrid(1, 1)
    sizes = draw.choice([0, 1, 2, 5, 10, 37, 500, 3000]), 1, draw.choice([1, 1, 2, 3])
    return Workload(grid, *sizes, resolution, tiling=tiling)


def case(seed: int) -> tuple[Architecture, Workload]:
    """An architecture that the settings accept, and a workload: the same for the same seed."""
    draw, settings = random.Random(seed), compose()
    while True:
        if draw.random() < 0.3:
            asks = query_encoder(draw)
            parts = (draw.choice(DTYPES), sam(draw, asks.width), None, decoder(draw))
            model = Architecture("random", *parts, query_encoder=asks, tiling=WITH_QUERIES)
        else:
            eyes = clip(draw)
            model = Architecture("random", draw.choice(DTYPES), sam(draw, eyes.width), eyes, decoder(draw))
        try:
            validate(replace(settings, model=model))
        except ConfigError:
            continue
        return model, workload(draw, model.tiling)


def differences(architecture: Architecture, work: Workload) -> Iterator[str]:
    """A line for each stage and attention whose numbers are not the reference model's."""
    from pytest_ocrsweep.vendor_model import build, witness
    from pytest_ocrsweep.vendor_model.stage_calls import stage_flops

    model = Model(architecture)
    for stage in STAGES:
        for attention in ATTENTION:
            ours = model.ledger(stage, work, attention).total().tensor_flops
            off = [ours - stage_flops(architecture, stage, work, attention)]
            off += witness.other_differences(model, stage, work, attention)
            if any(off):
                yield f"{stage} {attention}: {off}"
    build.on_meta.cache_clear()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=int, nargs="?", default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(2**31))
    options = parser.parse_args()
    found = 0
    for seed in range(options.seed, options.seed + options.cases):
        architecture, work = case(seed)
        for line in differences(architecture, work):
            print(f"seed {seed}: {line}: {work} {architecture}")
            found += 1
    print(f"{options.cases} architectures from seed {options.seed}: {found} differences")
    sys.exit(found > 0)


if __name__ == "__main__":
    main()
