"""What is frozen: each function runs part of what users run and gives copies, by their names in `data/FUNCTION/`."""

from __future__ import annotations

import json
import re
from itertools import chain, islice
from pathlib import Path

from golden import outside
from PIL import Image

Copies = dict[str, str]

COMMANDS = ("", "cost ", "sweep ", "shapes ", "report ", "compare ", "merge ", "devices ", "fits ", "size ")
COMMANDS += ("profile ", "calibrate ", "gate ", "import ", "plan ", "history ", "completion ")
COST = (
    "cost 2x3",
    "cost 2x3 --stage decode --depth 1",
    "cost 2x3 --stage decode --path decoder/attn --depth 2 --device rtx4090",
    "cost 3x3 --stage prefill --attention eager --depth 3",
    "cost 2x3 --set workload.batch=4",
    "cost 2x3 --batch 4 --device h100 --stage decode",
    "cost 1x1 --set workload.resolution=base --stage vision",
    "cost 2x3 --set model=deepseek-ocr-tiny --device b200 --set device.bandwidth_bytes_per_s=4e12",
    "cost page.png --stage prefill",
    "cost 2x3 --json",
)
SWEEP = (
    "shapes --crops 1..100 --db shapes.sqlite",
    "sweep",
    "sweep --grids 1x1,2x3 --stage prefill --device h100",
    "sweep --grids shapes.sqlite:1..100/30 --stage decode --attention flash --set workload.batch=4",
    "sweep --grids 2x3 --json",
    "sweep --parquet space.parquet --rows 1..3 --cols 1..3 --batch 1,4 --new-tokens 1..100/50",
)
FITS = (
    "fits 2x3",
    "fits 2x3 --device rtx4090 --set workload.batch=32",
    "fits 1x1 --device h200 --attention eager --json",
)
SIZE = (
    "size 2x3 --ttft 0.5 --tpot 0.02",
    "size 1x1,2x3,3x3 --ttft 0.2 --tpot 0.005 --device l40s --device h100 --set workload.batch=4",
    "size 2x3 --ttft 0.5 --tpot 0.02 --device h200 --json",
)
DEVICES = ("devices", "devices --device h100 --json")
COMPARE = (
    "compare baselines/deepseek-ocr deepseek-ocr",
    "compare deepseek-ocr deepseek-ocr-tiny --grids 1x1,2x3",
    "compare device:h100 device:h200 --grids 1x1,2x3",
    "compare baselines/deepseek-ocr deepseek-ocr --set model.decoder.layers=6 --top 5 --fail-on regression",
    "compare deepseek-ocr deepseek-ocr-tiny --grids 2x3 --fail-on never --json",
)
REFUSED = (
    "cost",
    "cost 2y3",
    "cost missing.png",
    "cost 2x3 --device h900",
    "cost 2x3 --path decoder/attnn",
    "cost 2x3 --set workload.bach=4",
    "cost 2x3 --set workload.batch=0",
    "cost 2x3 --set model=other",
    "cost 2*3",
    "costs 2x3",
    "cost 2x3 --bacth 4",
    "cost 2x3 --device H100-SXM",
    "cost 2x3 --stage decod",
    "cost 2x3 --batch 4 --set workload.batch=8",
    "plan 3x2 --batch 4",
    "sweep --grids missing.yaml",
    "sweep --grids 1x1 --rows 1..3",
    "shapes --crops 3..1 --db new.sqlite",
    "shapes --db page.png",
    "report missing out",
    "report page.png out",
    "compare missing deepseek-ocr",
    "fits 0x3",
    "size 2x3 --ttft 0 --tpot 1",
)
NARROW = (  # for a terminal of 80 columns
    "sweep --grids 1x1,2x3",
    "devices",
    "fits 2x3",
    "plan 3x2",
    "cost 2x3 --stage decode --depth 3",
    "compare deepseek-ocr deepseek-ocr-tiny --grids 1x1 --top 5",
)
ANALYTIC = "--ocrsweep-analytic-only"


def help_texts(folder: Path) -> Copies:
    return {"help.txt": outside.ocrsweep(folder, *(f"{command}--help" for command in COMMANDS))}


def command_line(folder: Path) -> Copies:
    outside.project(folder)
    Image.new("L", (1300, 1900)).save(folder / "page.png")
    groups = {
        "cost": COST,
        "sweep": SWEEP,
        "fits": FITS,
        "size": SIZE,
        "devices": DEVICES,
        "compare": COMPARE,
        "refused": REFUSED,
    }
    said = iter(outside.transcripts(folder, *chain(*groups.values())))
    texts = {f"{name}.txt": "\n".join(islice(said, len(commands))) for name, commands in groups.items()}
    return {
        **texts,
        "narrow.txt": outside.ocrsweep(folder, *NARROW, columns="80"),
        "shapes.sqlite.txt": outside.database(folder / "shapes.sqlite", whole=("made_for", "shapes")),
        "space.parquet.txt": outside.columns(folder / "space.parquet"),
    }


def pytest_names(folder: Path) -> Copies:
    """Options, ini keys, marker, fixtures and the names of tests."""
    outside.project(folder)
    listed = outside.pytest(folder, "--help")
    group = re.search(r"^[^\n]*:\n(?=  --ocrsweep).*?\n\n", listed, re.M | re.S)
    keys = re.findall(r"^  ocrsweep_.*\n(?: {10,}.*\n)*", listed, re.M)
    markers = re.findall(r"^@pytest\.mark\.ocrsweep.*\n", outside.pytest(folder, "--markers"), re.M)
    fixtures = re.findall(r"^(ocrsweep\w*.*?) -- .*(\n(?:    .*\n)*)", outside.pytest(folder, "--fixtures"), re.M)
    assert group
    assert len(fixtures) == 2
    return {
        "names.txt": group[0] + "".join([*keys, *markers, *map("".join, fixtures)]),
        "ids.txt": outside.pytest(folder, "--collect-only -q suites/"),
    }


def pytest_green(folder: Path) -> Copies:
    outside.project(folder)
    text = outside.pytest(folder, f"suites/ -k 2x3 {ANALYTIC} --ocrsweep-report out")
    document = json.loads((folder / "out/sweep.json").read_text(encoding="utf-8"))
    return {
        "printed.txt": text,
        "sweep.json.txt": json.dumps(document, indent=1) + "\n",
        "sweep.sqlite.txt": outside.database(folder / "out/sweep.sqlite", whole=("points",)),
        "report.md.txt": (folder / "out/report.md").read_text(encoding="utf-8"),
        "files.txt": outside.files(folder / "out"),
    }


def pytest_red(folder: Path) -> Copies:
    """One number of a baseline is changed and another baseline is missing, until an update mends both."""
    recorded = outside.project(folder) / "baselines/deepseek-ocr"
    _edit(recorded / "decode.json", '"2x3", "attention": "flash"', r'("tensor_flops": \d+)\d', r"\g<1>7")
    _edit(recorded / "prefill.json", '"2x3", "attention": "eager"', r".*\n", "")
    three = "suites/test_vision.py suites/test_prefill.py suites/test_decode.py"
    runs = {
        "red": f"{three} -k 2x3 {ANALYTIC}",
        "quiet": f"{three} -k 2x3 {ANALYTIC} -q",
        "missing": f"{three} --ocrsweep-grids 2x3,5x5 {ANALYTIC}",
        "missing-fails": f"suites/test_prefill.py --ocrsweep-grids 2x3,5x5 {ANALYTIC} -o ocrsweep_missing=fail",
        "update": f"{three} {ANALYTIC} --ocrsweep-update",
        "refused": f"suites/ {ANALYTIC} --ocrsweep-grids 2y3",
        "refused-setting": f"suites/test_decode.py {ANALYTIC} --ocrsweep-set workload.bach=4",
        "refused-both": f"suites/test_decode.py {ANALYTIC} --ocrsweep-require-vendor",
    }
    narrow = outside.pytest(folder, f"{three} -k 2x3 {ANALYTIC}", columns="80")
    texts = {"narrow.txt": narrow, **{f"{name}.txt": outside.pytest(folder, command) for name, command in runs.items()}}
    (folder / "pytest.ini").write_text("[pytest]\nocrsweep_grids = 1x1,2x3\n", encoding="utf-8")
    texts["unused.txt"] = outside.pytest(folder, f"suites/test_vision.py {ANALYTIC}")
    return {**texts, "update.baselines.txt": outside.digests(list(recorded.glob("*.json")), folder)}


def _edit(path: Path, line: str, old: str, new: str) -> None:
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(re.sub(old, new, text) if line in text else text for text in lines), encoding="utf-8")


def recorded_report(folder: Path) -> Copies:
    outside.project(folder)
    text = outside.ocrsweep(
        folder,
        "report baselines/deepseek-ocr/timed/nvidia-h200 page",
        "compare page/sweep.json page/sweep.sqlite#1",
        "compare page device:b200 --grids 1x1,2x3 --top 10",
    )
    page = folder / "page"
    return {
        "printed.txt": text,
        "files.txt": outside.files(page),
        "sweep.json.txt": outside.sweep(page / "sweep.json", whole=6),
        "sweep.sqlite.txt": outside.database(page / "sweep.sqlite"),
        "report.md.txt": (page / "report.md").read_text(encoding="utf-8"),
        "index.html.txt": outside.markup(page / "index.html"),
        "charts.txt": outside.drawn(page),
    }


def baselines(folder: Path) -> Copies:
    recorded = outside.ROOT / "baselines"
    return {"baselines.txt": outside.digests(list(recorded.rglob("*.json")), recorded)}


ALL = (help_texts, command_line, pytest_names, pytest_green, pytest_red, recorded_report, baselines)
