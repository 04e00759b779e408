"""The parsers of words to fuzz: overrides of the configuration, and command lines."""

from __future__ import annotations

from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

import damage

# Overrides of the configuration

OVERRIDES = (
    "workload.batch=4",
    "model=deepseek-ocr-tiny",
    "model.decoder.layers=6\nworkload.resolution=base",
    "model.sam.global_layers=[0,1]\nmodel.sam.downsample_widths=[512,1024]",
    "vendor.device=cpu\nvendor.seed=7",
    "device=rtx-4090\nworkload.new_tokens=1000",
    "device.bandwidth_bytes_per_s=4e12\nmodel.dtype=fp16\nmodel.decoder.prefill_experts=batched_mm",
    "device.source='a, b'\nmodel.name=mine",
    "model.decoder.experts=8\nmodel.decoder.experts_per_token=2",
)


def config_seeds(folder: Path) -> list[bytes]:
    return [text.encode() for text in OVERRIDES]


@cache
def keys() -> list[str]:
    from pytest_ocrsweep.sweep.settings import option_keys

    return [
        *option_keys(),
        "model",
        "device",
        "workload",
        "null",
        "true",
        "0x1f",
        "1e3",
        "${x}",
        "???",
        "inf",
        "+a",
    ]


def config_damage(data: bytes, rng: Any, raw: damage.Raw) -> bytes:
    lines = data.split(b"\n")
    if rng.random() < 0.1:
        lines.insert(rng.randrange(len(lines) + 1), rng.choice(OVERRIDES).encode())
        return b"\n".join(lines)
    return damage.words(data, rng, raw, keys())


def config_take(data: bytes, folder: Path) -> None:
    from pytest_ocrsweep.hardware.roofline import floor
    from pytest_ocrsweep.model.analytic import Model
    from pytest_ocrsweep.model.geometry import CropGrid
    from pytest_ocrsweep.model.stages import STAGES
    from pytest_ocrsweep.sweep import config

    config._compose.cache_clear()
    settings = config.compose(data.decode("utf-8", "surrogateescape").split("\n"))
    assert (folder / settings.model.name / "x").resolve().parent.parent == folder.resolve()
    if len(data) % 4 == 0:  # a ledger takes longer than all before it
        stage = list(STAGES)[len(data) % len(STAGES)]
        ledger = Model(settings.model).ledger(stage, settings.workload.on(CropGrid(1, 1)), "eager")
        assert ledger.total().tensor_flops > 0 < ledger.peak_activation_bytes
        assert floor(ledger, settings.device).time_ns >= 0


# The command line

LINES = (
    "cost\n2x3\n--stage\nprefill\n--depth\n2",
    "cost\n1x1\n--set\nworkload.resolution=base\n--json\n--attention\neager",
    "cost\n2x3\n--path\ndecoder/attn\n--device\nrtx-4090",
    "devices\n--device\nh100\n--json",
    "fits\n2x3\n--device\nl40s\n--set\nworkload.batch=32",
    "size\n2x3\n--ttft\n0.5\n--tpot\n0.02",
    "sweep\n--grids\n1x1,2x3\n--report\nout\n--stage\nvision",
    "shapes\n--crops\n1..100/10\n--db\nshapes.sqlite",
    "compare\nbaselines/deepseek-ocr\ndeepseek-ocr\n--grids\n1x1\n--top\n3",
    "report\nsweep.json\nout",
)
OPTIONS = (
    "--stage --depth --set --json --attention --path --device --ttft --tpot --grids --report --crops --db --top -h"
)
READS_ONLY = ("cost", "devices", "fits", "size")  # of these all is run, of the others the arguments are read


def arguments_seeds(folder: Path) -> list[bytes]:
    return [text.encode() for text in LINES]


def arguments_damage(data: bytes, rng: Any, raw: damage.Raw) -> bytes:
    return damage.words(data, rng, raw, [*OPTIONS.split(), *keys(), "h200", "cpu", "nan", "1e-3", "5", "decoder"])


def arguments_take(data: bytes, folder: Path) -> None:
    """The words as a shell would give them; a usage error is raised as what it is for a caller of Python."""
    from pytest_ocrsweep import cli
    from pytest_ocrsweep.errors import ArgumentError
    from pytest_ocrsweep.sweep import config

    config._compose.cache_clear()
    words = data.decode("utf-8", "replace").replace("\0", "").split("\n")
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            options = _command_line().parse_args(words)
            code = cli.main(words) if words[0] in READS_ONLY else 0
            if words[0] in ("sweep", "shapes", "compare"):
                _read_arguments(options)
        except SystemExit as stopped:
            code = stopped.code  # type: ignore[assignment]  # argparse gives ints
    assert code in (0, cli.USAGE), code
    if code:
        assert err.getvalue().count("\n") == 1, err.getvalue()
        raise ArgumentError(err.getvalue()[:2000].rstrip("\n"))
    assert out.getvalue() or words[0] not in READS_ONLY


@cache
def _command_line() -> Any:
    from pytest_ocrsweep import cli

    return cli.parser()


def _read_arguments(options: Any) -> None:
    from pytest_ocrsweep.cli import flags
    from pytest_ocrsweep.sweep import shapes

    if hasattr(options, "overrides"):
        settings = flags.compose(options)
        if getattr(options, "grids", None) is not None:
            flags.points(options.grids, settings)
    if isinstance(getattr(options, "crops", None), str):
        shapes.counts(options.crops)
