"""`--model`: a short form of `--set model=NAME`, for the subcommands that price one model."""

from __future__ import annotations

import argparse


def add_model(parser: argparse.ArgumentParser) -> None:
    """Adds `--model`, which goes where `--set` goes: `flags.compose` reads both."""
    parser.add_argument(
        "--model",
        metavar="NAME",
        dest="overrides",
        action="append",
        default=[],
        type="model={}".format,
        help="the model, as --set model=NAME: deepseek-ocr (default) or unlimited-ocr",
    )
