"""Settings as plain options: each is what `--set` is, on every subcommand, or is refused with a reason."""

from __future__ import annotations

import argparse

import pytest

from pytest_ocrsweep import cli
from pytest_ocrsweep.cli import main, settings
from pytest_ocrsweep.cli.settings import PLAIN

VALUES = {"model": "deepseek-ocr-tiny", "engine": "vllm", "device": "rtx-4090", "resolution": "base"}
NEEDS = {  # that a command parses without
    "cost": ["1x1"],
    "shapes": ["--db", "x.sqlite"],
    "report": ["a", "b"],
    "compare": ["a", "b"],
    "merge": ["a", "--report", "b"],
    "import": ["a"],
    "fits": ["1x1"],
    "size": ["1x1", "--ttft", "1s", "--tpot", "1ms"],
    "plan": ["1x1"],
    "profile": ["1x1"],
    "gate": ["--against", "main"],
    "completion": ["bash"],
}
OTHERWISE = {  # what these commands take in a way of their own: several values, or a file's
    *(("sweep", name) for name in ("batch", "prompt_tokens", "new_tokens")),
    *((command, "device") for command in ("devices", "fits", "size", "plan")),
    ("import", "engine"),
    ("import", "new_tokens"),
}


def value(name: str) -> str:
    return VALUES.get(name, "3")


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_subcommand_takes_a_plain_option_or_says_why_not(capsys, command, name):
    words = [command, *NEEDS.get(command, []), settings.option(name), value(name)]
    try:
        options = cli.parser().parse_args(words)
    except SystemExit:
        err = capsys.readouterr().err
        assert f"{settings.option(name)} does not belong here: " in err
        return
    if name in getattr(options, "plain", ()):
        settings.apply(options)
        assert options.overrides == [f"{PLAIN[name].key}={value(name)}"]
    else:
        assert (command, name) in OTHERWISE


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_option_is_what_set_is(capsys, name):
    printed = []
    for words in ([settings.option(name), value(name)], ["--set", f"{PLAIN[name].key}={value(name)}"]):
        assert main(["cost", "1x1", "--stage", "prefill", *words, "--json"]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]


@pytest.mark.parametrize("command", ["sweep --stage decode --grids 1x1", "fits 1x1 --device h100"])
def test_a_batch_is_heeded_where_it_could_be_taken_for_an_axis_or_a_device(capsys, command):
    printed = []
    for words in (["--batch", "4"], ["--set", "workload.batch=4"], []):
        assert main([*command.split(), *words]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] != printed[2]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--batch 4 --set workload.batch=8", "--batch 4 and --set workload.batch=8 contradict each other: keep one"),
        ("--device h100 --set device=h200", "--device h100 and --set device=h200 contradict each other: keep one"),
        ("--model x --set model=y", "--model x and --set model=y contradict each other: keep one"),
    ],
)
def test_options_that_contradict_each_other_are_one_line(capsys, words, line):
    assert main(["cost", "1x1", *words.split()]) == 2
    assert capsys.readouterr().err == f"ocrsweep: {line}\n"
    assert (
        main(
            ["gate", "--against", "main", *words.replace("--device", "--engine").replace("device=", "engine=").split()]
        )
        == 4
    )


def test_the_same_said_twice_is_no_contradiction():
    options = argparse.Namespace(plain=("batch", "device"), batch=4, device="RTX4090", overrides=["device=rtx-4090"])
    settings.apply(options)
    assert options.overrides == ["workload.batch=4", "device=rtx-4090"]


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("costs 2x3", "'cost'"),
        ("cost 2x3 --bacth 4", "'--batch'"),
        ("cost 2x3 --stage decod", "'decode'"),
        ("cost 2x3 --attention falsh", "'flash'"),
        ("cost 2*3", "2x3"),
        ("cost 2,3", "2x3"),
        ("sweep --grids 2*3", "2x3"),
        ("sweep --grids vender", "'vendor'"),
        ("cost 2x3 --device H100-SXM", "'h100'"),
        ("fits 2x3 --device gh200", "'h200'"),
        ("cost 2x3 --engine vlm", "'vllm'"),
        ("cost 2x3 --model deepseek-orc", "'deepseek-ocr'"),
        ("cost 2x3 --resolution gundm", "'gundam'"),
        ("cost 2x3 --set workload.resolution=gundm", "'gundam'"),
        ("cost 2x3 --set workload.bach=4", "'workload.batch'"),
        ("cost 2x3 --path decoder/attnn", "'decoder/attn'"),
        ("compare deepseek-ocr deepseek-ocr-tinny", "'deepseek-ocr-tiny'"),
        ("compare device:H100-SXM device:h200", "'h100'"),
        ("history decod 2x3", "'decode'"),
        ("completion bsh", "'bash'"),
    ],
)
def test_a_near_miss_is_answered_with_what_was_meant(capsys, words, meant):
    try:
        code = main(words.split())
    except SystemExit as stop:
        code = stop.code
    (line,) = capsys.readouterr().err.splitlines()
    assert code == 2
    assert f"did you mean {meant}?" in line
