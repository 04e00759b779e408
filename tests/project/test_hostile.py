"""What others wrote is a right value or one clear line: no traceback, no hang, nothing run, nothing outside the folder.

Each parser meets a few damaged inputs here; dev/campaigns/fuzz.py gives each 100,000, chosen by coverage.
"""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import sqlite3
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from copy import deepcopy
from pathlib import Path
from random import Random
from typing import Any

import damage
import documents
import fuzz
import parsers
import parsers_binary
import parsers_shown
import pytest
import red_run

from pytest_ocrsweep.baselines import counted, result_json, timed
from pytest_ocrsweep.baselines.result_json import to_json
from pytest_ocrsweep.cli import main
from pytest_ocrsweep.errors import BaselineError, CheckpointError, ConfigError, ImageError, ReportError
from pytest_ocrsweep.files import untrusted
from pytest_ocrsweep.files.image_size import PageSize, page_size
from pytest_ocrsweep.files.text import command, is_command
from pytest_ocrsweep.report import load, markdown, recorded, sqlite
from pytest_ocrsweep.sweep import config, grid_sources, shapes
from pytest_ocrsweep.sweep.made_for import SweptFor

PACKAGE = Path(__file__).parents[2] / "pytest_ocrsweep"
CASES = [60, pytest.param(600, marks=pytest.mark.slow)]
LIMIT_S = 300
NEEDS_TORCH = ("pixels", "checkpoint")
LONG = "x" * 300  # more than a file's name may have
SNAPSHOT = "config.json", "model.safetensors.index.json", "model.safetensors"


@pytest.fixture(autouse=True)
def _no_hang() -> Iterator[None]:
    """A test here that waits for ever says so."""

    def stop(*_: object) -> None:
        raise TimeoutError("it hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LIMIT_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def raw(data: bytes, rng: Random) -> bytes:
    """What libFuzzer does in a campaign: bytes changed, dropped, doubled."""
    at, there = (rng.randrange(len(data) + 1) for _ in range(2))
    return data[:at] + rng.choice((b"", bytes([rng.randrange(256)]), data[there : there + 8])) + data[there:]


# Every parser


@pytest.mark.parametrize("cases", CASES)
@pytest.mark.parametrize("name", parsers.PARSERS)
def test_damage_is_a_right_value_or_one_line(name: str, cases: int, tmp_path: Path) -> None:
    if name in NEEDS_TORCH:
        pytest.importorskip("torch", reason="the vendor model needs the extra [vendor]")
    parser, rng = parsers.PARSERS[name], Random(name)
    seeds = parser.seeds(tmp_path)
    outcomes = [fuzz.case(parser, seed, tmp_path) for seed in seeds]
    assert fuzz.REFUSED not in outcomes
    for _ in range(cases):
        data = rng.choice(seeds)
        for _ in range(rng.choice((1, 1, 2))):
            data = parser.damage(data, rng, lambda some: raw(some, rng))
        outcomes.append(fuzz.case(parser, data, tmp_path))
    assert fuzz.REFUSED in outcomes


def test_the_fuzzer_tells_a_crash_from_a_refusal() -> None:
    """Else it would find nothing, whatever the parsers do."""
    fuzz.check_refusal(grid_sources.SourceError("cannot sweep this: give another"))
    with pytest.raises(fuzz.Crash, match="no clear line"):
        fuzz.check_refusal(grid_sources.SourceError("two lines,\nwhich is one too many"))
    with pytest.raises(UnicodeError):
        fuzz.check_refusal(UnicodeError("somebody else's ValueError"))
    with pytest.raises(ZeroDivisionError):
        fuzz.case(parsers.Parser(list, damage.kept, lambda data, folder: 1 // 0), b"", Path())


# A report of somebody else's run, of which a bot makes a comment

EVIL = "x\n```\n\n# @octocat [a](https://evil.example) <img src=x> | b |\n$(touch x); www.evil.example\n```"


def _places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Each text in a document, and each name of a field."""
    for name, each in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(value, dict):
            yield (*at, name, "name")
        if isinstance(each, str):
            yield (*at, name, "text")
        elif isinstance(each, dict | list):
            yield from _places(each, (*at, name))


def _evil_at(document: dict[str, Any], place: tuple[Any, ...]) -> dict[str, Any]:
    made = deepcopy(document)
    inner: Any = made
    *path, name, what = place
    for step in path:
        inner = inner[step]
    if what == "name":
        inner[EVIL] = inner.pop(name)
    else:
        inner[name] = EVIL
    return made


def _whole() -> dict[str, Any]:
    recorded_report = recorded.report(PACKAGE.parent / "baselines", "deepseek-ocr", "nvidia-h200", "2x3")
    found = json.loads(json.dumps(to_json(red_run.red(recorded_report))))
    found["points"] = [point for point in found["points"] if point["attention"] == "flash"]
    host = dict.fromkeys(("gpu", "driver", "torch", "transformers", "dtype", "weights"), "known")
    found["environment"]["hosts"] = [host | {"host": "node1"}, host | {"host": "node2"}]
    assert any(point.get("moved") for point in found["points"])
    assert any(point["vendor"]["profile"] for point in found["points"])
    for name in ("samples", "lines"):
        _shorten(found, name)
    return found | {"own": [documents.own(), documents.own("render", "call")]}


def _shorten(value: Any, name: str) -> None:
    """A few of many that are alike."""
    for key, each in value.items() if isinstance(value, dict) else enumerate(value):
        if key == name:
            value[key] = dict(list(each.items())[:3]) if isinstance(each, dict) else each[:3]
        elif isinstance(each, dict | list):
            _shorten(each, name)


def test_no_text_of_a_report_becomes_markup_or_a_command_of_its_page_for_pull_requests() -> None:
    document = _whole()
    shown = 0
    for place in _places(document):
        try:
            page = markdown.page(result_json.from_json(_evil_at(document, place), "a report"), price=2.0)
        except ReportError:
            continue
        shown += "octocat" in page
        parsers_shown.check_markdown(page)
        lines = page.splitlines()
        headings = [line for line in lines if line.startswith("#")]
        assert all(re.match(r"## |### (?:Moved since the baseline|Own code)", line) for line in headings), place
        assert len(headings) <= 3, place
        fences = [at for at, line in enumerate(lines) if line.lstrip().startswith("```")]
        assert len(fences) in (0, 2), place
        for line in lines[fences[0] + 1 : fences[1]] if fences else ():
            assert is_command(line), place
    assert shown > 20


def test_a_command_of_somebody_elses_report_is_shown_if_a_shell_runs_nothing_but_us() -> None:
    assert is_command(
        command("pytest", "tests/it's a.py", "--ocrsweep-set=a=$(x)", "-k", "a\nb\x1b", "--ocrsweep-update")
    )
    assert is_command(command("ocrsweep", "history", "accept", "decode", "2x3", "flash"))
    for evil in (
        *("curl evil.example", "pytest; curl evil", "pytest $(curl evil)", "pytest `x`", "pytest a | sh", "pytest > x"),
        *(
            "pytest\ncurl evil",
            "pytest 'a",
            'pytest "$(x)"',
            "pytest & x",
            "",
            " pytest",
            "pytest # x",
            "./pytest",
            "PATH=. pytest",
        ),
    ):
        assert not is_command(evil), evil


# Files that never end, never begin, or are too large


def read_yaml(path: Path) -> object:
    return grid_sources.entries(str(path), SweptFor.of(config.compose()))


def read_baseline(path: Path) -> object:
    return counted.read(path, "m", "decode")


def read_times(path: Path) -> object:
    return timed.read(path, "m", "cpu", "decode")


READERS: dict[str, tuple[Callable[[Path], object], type[ValueError]]] = {
    "grids.yaml": (read_yaml, grid_sources.SourceError),
    "shapes.sqlite": (read_yaml, grid_sources.SourceError),
    "decode.json": (read_baseline, BaselineError),
    "cpu.json": (read_times, BaselineError),
    "sweep.json": (load.load, ReportError),
    "sweep.sqlite": (load.load, ReportError),
    "page.png": (page_size, ImageError),
}


@pytest.mark.parametrize("name", READERS)
def test_a_pipe_is_refused_before_anybody_waits_for_it(name: str, tmp_path: Path) -> None:
    read, refusal = READERS[name]
    os.mkfifo(tmp_path / name)
    with pytest.raises(refusal, match=re.escape(name)):
        read(tmp_path / name)


@pytest.mark.parametrize("name", READERS)
def test_a_terabyte_of_nothing_is_not_read(name: str, tmp_path: Path) -> None:
    read, refusal = READERS[name]
    (tmp_path / name).touch()
    os.truncate(tmp_path / name, 1 << 40)
    with pytest.raises(refusal, match=re.escape(name)):
        read(tmp_path / name)


@pytest.mark.parametrize("name", SNAPSHOT)
@pytest.mark.parametrize("kind", ["pipe", "terabyte"])
def test_no_file_of_a_snapshot_is_waited_for_or_read_whole(name: str, kind: str, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the vendor model needs the extra [vendor]")
    from pytest_ocrsweep.vendor_model import checkpoint

    settings, *_ = damage.parts(parsers.PARSERS["checkpoint"].seeds(tmp_path)[0], 4)
    if name != "config.json":
        (tmp_path / "config.json").write_bytes(settings)
    if kind == "pipe":
        os.mkfifo(tmp_path / name)
    else:
        with (tmp_path / name).open("wb") as file:
            file.write(struct.pack("<Q", 1 << 39))  # a header of half of it, to safetensors
            file.truncate(1 << 40)
    with pytest.raises(CheckpointError):
        checkpoint.check(tmp_path, parsers_binary.small())


def test_a_file_that_is_refused_says_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "grids.yaml"
    path.write_text("- 1x1\n" * 200_000)
    with pytest.raises(grid_sources.SourceError, match="it has more than 131,072 bytes"):
        grid_sources.entries(str(path), SweptFor.of(config.compose()))


# Things said twice, and halves of characters


@pytest.mark.parametrize("text", ['{"a": 1, "a": 1}', '{"b": [{"a": {}, "a": []}]}', '{"\\u0061": 0, "a": 0}'])
def test_json_that_says_a_thing_twice_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a key is given twice"):
        untrusted.parse_json(text)


def test_half_a_character_is_refused_and_a_whole_one_is_not() -> None:
    assert untrusted.parse_json('{"a": "\\ud83c\\udca1"}') == {"a": "🂡"}
    with pytest.raises(ValueError, match="half a character"):
        untrusted.parse_json('{"a": "\\ud83c"}')


def test_a_report_that_says_a_thing_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sweep.json"
    path.write_text(json.dumps(documents.document()).replace('"model":', '"model": "another", "model":'))
    with pytest.raises(ReportError, match="a key is given twice"):
        load.load(path)


# Databases that would run something


@pytest.mark.parametrize(
    "change",
    [
        "DROP TABLE {table}; CREATE VIEW {table} AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "
        "SELECT x AS crops, x AS run FROM c",
        "CREATE TRIGGER t AFTER INSERT ON {table} BEGIN DELETE FROM {table}; END",
        "ALTER TABLE {table} ADD COLUMN odd TEXT AS (hex(zeroblob(400000000)))",
    ],
    ids=["a view that never ends", "a trigger", "a column that is computed"],
)
@pytest.mark.parametrize("kind", ["report", "shapes"])
def test_what_a_database_would_run_is_not_run(kind: str, change: str, tmp_path: Path) -> None:
    path = tmp_path / "it.sqlite"
    if kind == "report":
        sqlite.write(documents.report(), path)
    else:
        shapes.write(path, *shapes.shapes(range(1, 9), config.compose(), 4.0))
    read, table = (load.load, "points") if kind == "report" else (read_yaml, "shapes")
    assert read(path)
    with closing(sqlite3.connect(path)) as database:
        database.executescript(change.format(table=table))
    with pytest.raises(ValueError, match=r"its (table|trigger|column) .* (is missing|is not ours)"):
        read(path)


def test_an_index_or_a_view_beside_ours_is_refused_by_name(tmp_path: Path) -> None:
    """SQLite runs what either says when a row is added or read: a copy of the file is the place for one's own."""
    path = tmp_path / "sweep.sqlite"
    sqlite.write(documents.report(), path)
    with closing(sqlite3.connect(path)) as database:
        database.executescript("CREATE VIEW mine AS SELECT grid FROM points; CREATE INDEX i ON points (grid)")
    with pytest.raises(ReportError, match=r"its (index 'i'|view 'mine') is not ours"):
        load.load(path)


# Image bombs


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG that says this size and has these chunks."""
    head = (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    packed = [
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in (head, *chunks)
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


BOMB = zlib.compress(bytes(200 << 20), 9)  # 200 MiB from 200 KiB


def test_the_size_of_a_bomb_is_told_from_its_header(tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(png(60_000, 50_000, (b"IDAT", BOMB)))
    assert page_size(tmp_path / "bomb.png") == PageSize(60_000, 50_000)


def test_the_pixels_of_a_bomb_are_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="the vendor model needs the extra [vendor]")
    from pytest_ocrsweep import CropGrid, Workload
    from pytest_ocrsweep.vendor_model.pixels import page_pixels

    (tmp_path / "bomb.png").write_bytes(png(60_000, 50_000, (b"IDAT", BOMB), (b"IEND", b"")))
    with pytest.raises(ImageError, match="has 3,000,000,000 pixels, more than 178,956,970: save a smaller one"):
        page_pixels(tmp_path / "bomb.png", Workload(CropGrid(1, 1)), torch.zeros(1))


def test_text_in_an_image_that_swells_is_not_unpacked(tmp_path: Path) -> None:
    text = (b"zTXt", b"Raw profile type exif\0\0" + BOMB)
    (tmp_path / "bomb.png").write_bytes(png(640, 640, text, (b"IDAT", b"")))
    peak = fuzz._peak()
    with pytest.raises(ImageError, match="its metadata unpack to more than 1,048,576 bytes"):
        page_size(tmp_path / "bomb.png")
    assert fuzz._peak() - peak < 64 << 20


# Names that would leave the folder


@pytest.mark.parametrize(
    "name", ["../../x", "/etc/x", ".", "..", "a/b", "a\\b", ".hidden", "-x", "a b", "a\tb", "é", "x" * 101]
)
def test_a_models_name_is_a_folder_within_the_baselines(name: str) -> None:
    with pytest.raises(ConfigError, match=r"model\.name (is the folder of its baselines|must be text)"):
        config.compose([f"model.name='{name}'"])


def test_an_update_for_a_model_named_outside_writes_nothing(recorded) -> None:
    before = {path: path.stat().st_mtime_ns for path in recorded.path.rglob("*")}
    result = recorded.run("--ocrsweep-update", "--ocrsweep-set=model.name=../../stolen")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert {path: path.stat().st_mtime_ns for path in recorded.path.rglob("*")} == before
    assert not (recorded.path / "baselines" / "../../stolen").exists()


@pytest.mark.parametrize("name", ["../../x", "/etc/x", "a/../b", "x\0", "C:\\x", "NVIDIA\nH200", "..é.x"])
def test_a_gpus_name_is_a_folder_within_the_times(name: str) -> None:
    assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*", timed.gpu_folder(name))


@pytest.mark.parametrize("name", ["..", ".", "/", "é", "\0"])
def test_a_gpu_without_a_name_has_no_folder(name: str) -> None:
    with pytest.raises(ValueError, match="needs a letter or a digit"):
        timed.gpu_folder(name)


@pytest.mark.parametrize(
    "name", ["../x.safetensors", "../../x", "/etc/passwd", "sub/x", "..", "", ".", "a\nb", "\ud800", LONG]
)
def test_an_index_names_no_file_of_another_folder(name: str, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the vendor model needs the extra [vendor]")
    from pytest_ocrsweep.vendor_model import snapshot_files

    folder = tmp_path / "snapshot"
    (folder / "sub").mkdir(parents=True)
    for elsewhere in (tmp_path / "x.safetensors", tmp_path / "x", folder / "sub" / "x"):
        elsewhere.write_bytes(b"not read")
    (folder / snapshot_files.INDEX).write_text(json.dumps({"weight_map": {"lm_head.weight": name}}))
    with pytest.raises(CheckpointError, match=r"which is no file of|half a character") as refused:
        snapshot_files.tensors(folder)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("command", ["cost", "report", "compare", "sweep", "shapes"])
def test_a_name_too_long_for_a_file_is_one_line(
    command: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    more = {"report": [str(tmp_path)], "compare": [LONG], "shapes": [f"--db={LONG}.sqlite", "--crops=1"]}
    named = {"sweep": ["--grids", f"{LONG}.yaml"], "shapes": []}.get(command, [LONG])
    assert main([command, *named, *more.get(command, [])]) == 2
    assert capsys.readouterr().err.count("\n") == 1


# Messages


def test_an_argument_cannot_write_lines_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["cost", "1x1", "--not\nan\x1b[31moption"])
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert r"--not\nan\x1b[31moption" in told


@pytest.mark.parametrize("key", ["a\nb", "\x1b[2J", "x" * 100_000])
def test_a_key_of_a_report_cannot_write_lines_of_its_own(key: str, tmp_path: Path) -> None:
    path = tmp_path / "sweep.json"
    path.write_text(json.dumps(documents.document({**documents.point(), "components": {key: 1}})))
    with pytest.raises(ReportError) as refused:
        load.load(path)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize("number", [10**101, 10**400, -(10**400)])
@pytest.mark.parametrize("at", ["batch", "power_w"])
def test_a_number_of_a_report_that_no_float_holds_is_refused(number: int, at: str, tmp_path: Path) -> None:
    changed = {"batch": number} if at == "batch" else {"vendor": documents.vendor(power_w=number)}
    (tmp_path / "sweep.json").write_text(json.dumps(documents.document({**documents.point(), **changed})))
    with pytest.raises(ReportError, match=rf"{at} (is too large|must be a whole number)"):
        load.load(tmp_path / "sweep.json")


def test_a_recorded_number_that_no_float_holds_is_refused() -> None:
    with pytest.raises(ValueError, match="kernels must be a whole number, got 1000"):
        counted.whole({"kernels": 10**400}, "kernels")


def test_text_of_an_override_stays_short_and_on_its_line() -> None:
    for text in (
        f"model={LONG}",
        f"workload.{LONG * 100}=1",
        f"{LONG * 100}",
        f"workload.batch={LONG * 100}",
        "model=a\x1b",
    ):
        with pytest.raises(ConfigError) as refused:
            config.compose([text])
        assert str(refused.value).isprintable()
        assert len(str(refused.value)) < 1000


# Checkpoints that are none


@pytest.mark.parametrize("holds", ["nothing", "a config of another model"])
def test_a_broken_checkpoint_is_found_before_a_point_runs(recorded, holds: str) -> None:
    pytest.importorskip("torch", reason="the vendor model needs the extra [vendor]")
    folder = recorded.path / "snapshot"
    folder.mkdir()
    if holds != "nothing":
        (folder / "config.json").write_text("{}")
    before = recorded.baseline().read_bytes()
    on_cpu = ["--ocrsweep-set=vendor.device=cpu", "--ocrsweep-checkpoint=snapshot", "--ocrsweep-update"]
    result = recorded.run(*on_cpu)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --ocrsweep-checkpoint: *config.json*"])
    result.stdout.no_fnmatch_line("*passed*")
    assert recorded.baseline().read_bytes() == before


def test_each_problem_of_a_checkpoint_has_a_line_of_its_own(recorded) -> None:
    pytest.importorskip("torch", reason="the vendor model needs the extra [vendor]")
    folder = recorded.path / "snapshot"
    folder.mkdir()
    (folder / "config.json").write_text('{"use_mla": true, "a\\n::error::b": 1}')
    result = recorded.run("--ocrsweep-set=vendor.device=cpu", "--ocrsweep-checkpoint=snapshot")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    lines = [line for line in result.stderr.lines if line]
    assert all(line.startswith("ERROR: ") for line in lines)
    assert [line for line in lines if "use_mla is true, should be false" in line]
    assert [
        line for line in lines if line.endswith("delete the key if it changes nothing") and r"a\n::error::b" in line
    ]


def test_a_checkpoint_that_nobody_times_is_not_looked_into(recorded) -> None:
    (recorded.path / "snapshot").mkdir()
    assert recorded.run("--ocrsweep-checkpoint=snapshot", "--ocrsweep-analytic-only").ret == 0


# Nothing here can run what it reads

FORBIDDEN = {"pickle", "marshal", "shelve", "dill", "joblib", "urllib", "requests", "http"}
HARMLESS = {"urllib.parse", "http.client", "http"}  # these run nothing; only engines/ talks to a server
TALK = {"http.client", "http"}
CALLS = {"eval", "exec", "compile", "__import__"}


def test_no_module_can_run_what_it_reads() -> None:
    found = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [(path.name, name) for name in names if name.split(".")[0] in FORBIDDEN and name not in HARMLESS]
            found += [(path.name, name) for name in names if name in TALK and path.parent.name != "engines"]
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLS:
                found.append((path.name, node.func.id))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                called = ast.unparse(node.func)
                found += [(path.name, called)] * (called in ("torch.load", "yaml.load", "yaml.unsafe_load"))
    assert found == []
