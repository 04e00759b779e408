"""The plugin's options and ini keys: how they are declared, checked and read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from . import compat, ini_settings, places
from .usage import one_line, usage_error

if TYPE_CHECKING:
    from ..sweep.options import Options, Slowdown

OPTIONS: dict[str, dict[str, Any]] = {
    "--ocrsweep-grids": {
        "metavar": "SOURCE",
        "help": "what to sweep: a named set (vendor, pairs, dense), a list (1x2,2x3), a YAML file, or a shapes "
        "database, whole or by crops (shapes.sqlite:1..1000/10)",
    },
    "--ocrsweep-image": {
        "metavar": "FILE",
        "action": "append",
        "default": [],
        "help": "add the grid of a page image, of which only the size is read; repeatable",
    },
    "--ocrsweep-set": {
        "metavar": "KEY=VALUE",
        "action": "append",
        "default": [],
        "help": "Hydra override, as workload.batch=4 or model=deepseek-ocr-tiny; repeatable",
    },
    "--ocrsweep-config-dir": {
        "metavar": "DIR",
        "help": "your own models, devices, engines and workloads: a folder with model/, device/, engine/, workload/",
    },
    "--ocrsweep-analytic-only": {
        "action": "store_true",
        "help": "count only: never touch the reference model, torch or a GPU",
    },
    "--ocrsweep-require-vendor": {
        "action": "store_true",
        "help": "fail each point that is not measured on the reference model",
    },
    "--ocrsweep-require-counted": {
        "action": "store_true",
        "help": "fail code of your own whose work cannot be counted",
    },
    "--ocrsweep-checkpoint": {
        "metavar": "DIR",
        "help": "real weights for the reference model, from a local snapshot",
    },
    "--ocrsweep-update": {
        "action": "store_true",
        "help": "record what this run finds: adds and changes points, never removes one",
    },
    "--ocrsweep-prune": {
        "action": "store_true",
        "help": "remove recorded points that no test uses; refuses unless all tests that could use one ran",
    },
    "--ocrsweep-profile": {
        "action": "store_true",
        "help": "measure each timed point line by line too; with --ocrsweep-update, record its lines",
    },
    "--ocrsweep-slowdown": {
        "metavar": "PERCENT",
        "default": "0",
        "help": "slow the measured region down by this many percent, or one component of it (decoder/attn:10); "
        "to test the gate",
    },
    "--ocrsweep-report": {"metavar": "DIR", "help": "write the report: index.html, report.md, charts, JSON and SQLite"},
}
INI: dict[str, tuple[Any, str]] = {  # a list is of words, as of a shell
    "ocrsweep_grids": ("", "what to sweep if --ocrsweep-grids is not given"),
    "ocrsweep_set": ([], "settings, each KEY=VALUE, as of --ocrsweep-set, which comes after them and wins"),
    "ocrsweep_baselines": ("", "folder of the baselines, from the ini file's (without: the nearest baselines/)"),
    "ocrsweep_config_dir": ("", "folder of your own models, devices and engines, from the ini file's"),
    "ocrsweep_missing": ("skip", "what to do with a point that has no baseline: skip or fail"),
    "ocrsweep_unused": ("warn", "what to do about a recorded point that a full run did not use: warn or fail"),
    "ocrsweep_wide_margin": ("warn", "what to do about a time that cannot see 3 % more: warn or fail"),
    "ocrsweep_drift": ("3", "by how many percent a time may drift from its point's first ones before it fails"),
    "ocrsweep_fresh_seconds": ("", "seconds for new processes where a time is too close to tell (GPU: 300, CPU: 0)"),
}
CHOICES = {
    "ocrsweep_missing": ("skip", "fail"),
    "ocrsweep_unused": ("warn", "fail"),
    "ocrsweep_wide_margin": ("warn", "fail"),
}


def add(parser: pytest.Parser) -> None:
    """Declare them all."""
    group = parser.getgroup("ocrsweep", "what DeepSeek-OCR costs at every crop grid and stage")
    for name, attributes in OPTIONS.items():
        group.addoption(name, **attributes)
    for name, (default, text) in INI.items():
        if isinstance(default, list):
            parser.addini(name, text, "args", default)
        else:
            parser.addini(name, text, default=default)


def check(config: pytest.Config) -> None:
    """Raise UsageError for what can be told without the configuration."""
    option = config.option
    if option.ocrsweep_analytic_only and option.ocrsweep_require_vendor:
        raise pytest.UsageError("--ocrsweep-analytic-only and --ocrsweep-require-vendor exclude each other")
    if option.ocrsweep_analytic_only and option.ocrsweep_require_counted:
        raise pytest.UsageError("--ocrsweep-analytic-only and --ocrsweep-require-counted exclude each other")
    if option.ocrsweep_checkpoint and not os.path.isdir(option.ocrsweep_checkpoint):
        raise pytest.UsageError(f"--ocrsweep-checkpoint: {one_line(option.ocrsweep_checkpoint)} is not a folder")
    if option.ocrsweep_analytic_only and option.ocrsweep_profile:
        raise pytest.UsageError("--ocrsweep-analytic-only and --ocrsweep-profile exclude each other")
    if option.ocrsweep_slowdown != "0" and _slowdown(option).percent and option.ocrsweep_update:
        raise pytest.UsageError(
            "--ocrsweep-slowdown and --ocrsweep-update exclude each other: no such time is a baseline"
        )
    for name in ("grids", "config_dir", "checkpoint", "report"):
        if getattr(option, f"ocrsweep_{name}") == "":
            raise pytest.UsageError(f"--ocrsweep-{name.replace('_', '-')} is empty: give a value, or leave it out")
    for name in INI:
        ini_settings.value(config, name)
    for name, choices in CHOICES.items():
        value = config.getini(name)
        if value not in choices:
            raise pytest.UsageError(f"{name} must be {' or '.join(choices)}, got {value!r}")
    _drift(config)
    _seconds(config)
    if option.ocrsweep_report and compat.worker_input(config) is None:  # another host need not have such a folder
        from ..errors import ReportError
        from ..report.files import ready

        try:
            ready(Path(option.ocrsweep_report))
        except ReportError as error:
            raise usage_error(str(error.at("--ocrsweep-report"))) from None


def _slowdown(option: Any) -> Slowdown:  # imports only what a run of points needs anyway
    from ..sweep.options import Slowdown

    try:
        return Slowdown.parse(option.ocrsweep_slowdown)
    except ValueError:
        what = f"0 to 1000 percent, or COMPONENT:PERCENT such as sam:10, got {one_line(option.ocrsweep_slowdown)}"
        raise pytest.UsageError(f"--ocrsweep-slowdown: {what}") from None


def _drift(config: pytest.Config) -> float:
    """A ratio."""
    text = config.getini("ocrsweep_drift")
    try:
        percent = float(text)
    except ValueError:
        percent = 0
    if not 0 < percent <= 1000:
        raise pytest.UsageError(f"ocrsweep_drift must be a percentage above 0 and up to 1000, got {text!r}")
    return percent / 100


def _seconds(config: pytest.Config) -> float | None:
    value = str(config.getini("ocrsweep_fresh_seconds"))
    if not value:
        return None
    if not value.isdecimal():
        raise pytest.UsageError(f"ocrsweep_fresh_seconds must be a number of seconds, got {value!r}")
    return float(value)


def about_points(config: pytest.Config) -> bool:
    """Whether anything was said of what to sweep, which is to be checked before a test or worker starts."""
    option = config.option
    said = (
        option.ocrsweep_grids,
        option.ocrsweep_image,
        option.ocrsweep_set,
        option.ocrsweep_config_dir,
        config.getini("ocrsweep_config_dir"),
        config.getini("ocrsweep_grids"),
        ini_settings.overrides(config),
    )
    return any(said)


def demand(config: pytest.Config) -> str | None:
    """What demands something of every point, as it was said."""
    if config.option.ocrsweep_require_vendor:
        return "--ocrsweep-require-vendor"
    if config.option.ocrsweep_require_counted:
        return "--ocrsweep-require-counted"
    return "ocrsweep_missing=fail" if config.getini("ocrsweep_missing") == "fail" else None


def read(config: pytest.Config) -> Options:
    """What the sweep needs of them."""
    from ..sweep.options import Options

    option, here, folder = config.option, config.invocation_params.dir, places.baselines(config)
    return Options(
        grids=option.ocrsweep_grids,
        images=tuple(option.ocrsweep_image),
        overrides=tuple(option.ocrsweep_set),
        analytic_only=option.ocrsweep_analytic_only,
        require_vendor=option.ocrsweep_require_vendor,
        require_counted=option.ocrsweep_require_counted,
        update=option.ocrsweep_update,
        prune=option.ocrsweep_prune,
        checkpoint=Path(option.ocrsweep_checkpoint) if option.ocrsweep_checkpoint else None,
        profile=option.ocrsweep_profile,
        slowdown=_slowdown(option),
        report=here / option.ocrsweep_report if option.ocrsweep_report else None,
        default_grids=config.getini("ocrsweep_grids"),
        baselines=folder.path,
        missing_fails=config.getini("ocrsweep_missing") == "fail",
        wide_fails=config.getini("ocrsweep_wide_margin") == "fail",
        fresh_seconds=_seconds(config),
        here=here,
        command=tuple(str(word) for word in config.invocation_params.args),
        drift=_drift(config),
        folder=folder,
        config_dir=places.config_dir(config),
        ini_overrides=ini_settings.overrides(config),
        ini_where=ini_settings.where(config),
    )


def random_groups(config: pytest.Config) -> str | None:
    """Why pytest-split's groups may overlap and leave out tests; None if they do not. For `pytest_cmdline_main`."""
    option = config.option
    shuffled = getattr(option, "randomly_reorganize", False) and option.randomly_seed == "default"
    if not (shuffled and getattr(option, "splits", None)):
        return None
    return (
        "--splits cuts groups from an order that pytest-randomly draws anew in each run, so a point may be in no "
        "group: give every group -p no:randomly or the same --randomly-seed"
    )
