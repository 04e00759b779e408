"""Any input takes bounded time and memory: holes, endless parts, huge counts and lengths are a right value or one line.

Each file is built to cost a naive reader gigabytes or hours; holes of a terabyte take no room on the disk.
"""

from __future__ import annotations

import json
import os
import re
import resource
import struct
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from pytest_ocrsweep.baselines import counted
from pytest_ocrsweep.files import untrusted
from pytest_ocrsweep.files.image_size import ImageError, PageSize, page_size
from pytest_ocrsweep.report import load
from pytest_ocrsweep.sweep import grid_file, grid_sources
from pytest_ocrsweep.sweep.made_for import SweptFor

CPU_S = 20  # a naive reader takes minutes, the slowest of these a second and a half: a busy machine's clock fails none
MEMORY = 220 << 20
TERABYTE = 1 << 40


@pytest.fixture
def bounded():
    """Runs a reader, and gives its value or its refusal, one line; fails beyond CPU_S or MEMORY."""

    def run(read: Callable[[], object]) -> object:
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
        before, began = peak(), time.process_time()
        try:
            value = read()
        except ValueError as error:
            value = str(error)
            assert value.isprintable()
        assert time.process_time() - began < CPU_S
        assert peak() - before < MEMORY
        return value

    return run


def peak() -> int:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    return int(re.search(r"VmHWM:\s+([0-9]+)", status)[1]) << 10


# Page images of 70x40 pixels


def chunk(name: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def tag(number: int, kind: int, count: int, value: int) -> bytes:
    return struct.pack("<HHII", number, kind, count, value)


def tiff(*tags: bytes) -> bytes:
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + b"".join(tags) + bytes(4)


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


SIDES = tag(256, 4, 1, 70), tag(257, 4, 1, 40)
PNG = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 70, 40, 8, 0, 0, 0, 0))
PIXELS = chunk(b"IDAT", b"none")
JPEG, FRAME = b"\xff\xd8", segment(0xC0, struct.pack(">BHHB", 8, 40, 70, 1) + b"\1\x11\0")
CANVAS = b"\x0c\0\0\0" + (69).to_bytes(3, "little") + (39).to_bytes(3, "little")
WEBP = b"RIFF\xff\xff\xff\xffWEBPVP8X" + struct.pack("<I", 10) + CANVAS
SWOLLEN = tiff(*(tag(1000 + i, 1, 200_000, 0) for i in range(40_000)))  # each value is half of the file
SIZE, PARTS = PageSize(70, 40), "has more than 100,000 parts"
METADATA = "has more than 16,777,216 bytes of EXIF and XMP"
EXIF = b"".join(segment(0xE1, b"Exif\0\0" + SWOLLEN[at : at + 65_000]) for at in range(0, len(SWOLLEN), 65_000))
BIG_TIFF = b"II+\0\x08\0\0\0"

IMAGES: dict[str, tuple[Callable[[], bytes], int, object]] = {
    "PNG with a hole": (lambda: PNG + PIXELS, TERABYTE, PARTS),
    "PNG with a chunk of 2 GiB": (lambda: PNG + struct.pack(">I", (1 << 31) - 1) + b"prVt", TERABYTE, PARTS),
    "PNG with EXIF of 2 GiB": (lambda: PNG + struct.pack(">I", (1 << 31) - 1) + b"eXIf", TERABYTE, METADATA),
    "PNG of EXIF": (lambda: PNG + chunk(b"eXIf", bytes(1 << 20)) * 40, 0, METADATA),
    "PNG of chunks": (lambda: PNG + PIXELS + chunk(b"teSt") * 200_000, 0, PARTS),
    "PNG of chunks before its pixels": (lambda: PNG + chunk(b"teSt") * 200_000 + PIXELS, 0, PARTS),
    "PNG with a hole behind its end": (lambda: PNG + PIXELS + chunk(b"IEND"), TERABYTE, SIZE),
    "PNG with EXIF that repeats": (lambda: PNG + chunk(b"eXIf", SWOLLEN) + PIXELS, 0, SIZE),
    "PNG with text that swells": (
        lambda: PNG + chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(bytes(200 << 20), 9)),
        0,
        "unpack to more than 1,048,576 bytes",
    ),
    "WebP with a hole": (lambda: WEBP, TERABYTE, PARTS),
    "WebP of chunks": (lambda: WEBP + (b"ABCD" + bytes(4)) * 200_000, 0, PARTS),
    "WebP with XMP of 4 GiB": (lambda: WEBP + b"XMP \xff\xff\xff\xff", TERABYTE, METADATA),
    "TIFF with a tag of 2^28 values": (lambda: tiff(*SIDES, tag(701, 4, 1 << 28, 4096)), TERABYTE, SIZE),
    "TIFF with XMP of 2^28 values": (lambda: tiff(*SIDES, tag(700, 4, 1 << 28, 4096)), TERABYTE, METADATA),
    "TIFF of tags": (lambda: tiff(*SIDES, *(tag(999 + i, 1, 1 << 20, 9) for i in range(60_000))), 1 << 22, SIZE),
    "BigTIFF with 2^40 tags": (lambda: BIG_TIFF + struct.pack("<QQ", 16, 1 << 40), TERABYTE, "more than 100,000 tags"),
    "BigTIFF with tags beyond its end": (lambda: BIG_TIFF + struct.pack("<Q", 1 << 62), 0, "its tags lie at byte"),
    "JPEG with a hole": (lambda: JPEG + segment(0xE0, b""), TERABYTE, PARTS),
    "JPEG of fill bytes": (lambda: JPEG + b"\xff" * 1_000_000, 0, PARTS),
    "JPEG of markers": (lambda: JPEG + segment(0xE5, b"") * 200_000, 0, PARTS),
    "JPEG of 200 MB of markers": (lambda: JPEG + segment(0xE5, bytes(65_533)) * 3000 + FRAME, 0, SIZE),
    "JPEG with EXIF that repeats": (lambda: JPEG + EXIF + FRAME, 0, SIZE),
    "JPEG of EXIF": (lambda: JPEG + segment(0xE1, b"Exif\0\0" + bytes(65_000)) * 400, 0, METADATA),
}  # fmt: skip


@pytest.fixture(params=IMAGES)
def image(request, tmp_path):
    """The file, and the size or the words of the refusal."""
    content, size, expected = IMAGES[request.param]
    path = tmp_path / "page"
    path.write_bytes(content())
    os.truncate(path, max(size, path.stat().st_size))
    return path, expected


def test_the_size_of_any_image_takes_bounded_time_and_memory(image, bounded):
    path, expected = image
    found = bounded(lambda: page_size(path))
    assert found == expected if isinstance(expected, PageSize) else expected in found


def test_the_pixels_of_any_image_are_refused_in_bounded_time_and_memory(image, bounded):
    torch = pytest.importorskip("torch", reason="the vendor model needs the extra [vendor]")
    from pytest_ocrsweep import CropGrid, Workload
    from pytest_ocrsweep.vendor_model.pixels import page_pixels

    refused = bounded(lambda: page_pixels(image[0], Workload(CropGrid(1, 1)), torch.zeros(1)))
    assert str(image[0]) in refused


# YAML files of grids

YAML = {
    "ten million entries": (lambda: b"- 2x3\n" * 10_000_000, "more than 131,072 bytes"),
    "a hole": (lambda: b"", "more than 131,072 bytes"),
    "short entries": (lambda: b"- 1\n" * 30_000, "more than 25,000 entries"),
    "short keys": (lambda: b"a:\n" * 43_000, "more than 25,000 entries"),
    "short entries in brackets": (lambda: b"[" + b"1," * 60_000 + b"]", "more than 25,000 entries"),
    "aliases": (lambda: b"- &a 1x1\n" + b"- *a\n" * 20_000, "aliases and tags are not read"),
    "brackets in brackets": (lambda: b"[" * 130_000, "nested too deeply"),
    "lists in lists": (lambda: b"- " * 65_000, "nested too deeply"),
    "keys in keys": (lambda: b"{a: " * 32_000, "nested too deeply"),
    "one long text": (lambda: b"- '" + b"a\n" * 65_000 + b"'", "is not a crop grid"),
}


@pytest.mark.parametrize("name", YAML)
def test_a_yaml_file_of_grids_takes_bounded_time_and_memory(name, tmp_path, bounded):
    content, expected = YAML[name]
    path = tmp_path / "grids.yaml"
    path.write_bytes(content())
    if name == "a hole":
        os.truncate(path, TERABYTE)
    assert expected in bounded(lambda: grid_sources.entries(str(path), SweptFor("deepseek-ocr", "gundam", 10)))


def test_a_yaml_file_of_twenty_thousand_grids_is_read(tmp_path, bounded):
    path = tmp_path / "grids.yaml"
    path.write_text("- 2x3\n" * 20_000)
    assert path.stat().st_size < grid_file.MOST_BYTES
    assert len(bounded(lambda: grid_sources.entries(str(path), SweptFor("deepseek-ocr", "gundam", 10)))) == 1


# JSON: reports and baselines

MOST = untrusted.MOST_VALUES - 10
JSON = {
    "a million points": (lambda: '{"points": [' + ",".join(["{}"] * 1_000_000) + "]}", "more than 800,000 values"),
    "as many keys as may be": (lambda: "{" + ",".join(f'"{i:07}":0' for i in range(MOST)) + "}", "sweep.json"),
    "as many lists as may be": (lambda: "[" + ",".join(["[]"] * (MOST // 2)) + "]", "sweep.json"),
    "brackets in brackets": (lambda: "[" * 700_000, "nested too deeply"),
    "one long text of wide characters": (lambda: '["' + "a" * (untrusted.MOST_BYTES - 20) + '🂡"]', "sweep.json"),
    "one long text with escapes": (lambda: '["' + "a" * (untrusted.MOST_BYTES - 20) + '\\ud83c\\udca1"]', "sweep.json"),
    "more bytes than are read": (lambda: "[" + " " * untrusted.MOST_BYTES + "]", "more than 25,165,824 bytes"),
}


@pytest.mark.parametrize("name", JSON)
def test_a_report_takes_bounded_time_and_memory(name, tmp_path, bounded):
    content, expected = JSON[name]
    path = tmp_path / "sweep.json"
    path.write_text(content(), encoding="utf-8")
    assert expected in bounded(lambda: load.load(path))


def test_a_baseline_takes_bounded_time_and_memory(tmp_path, bounded):
    path = tmp_path / "decode.json"
    path.write_text("{" + ",".join(f'"{i:07}":0' for i in range(MOST)) + "}")
    assert "it must hold schema" in bounded(lambda: counted.read(path, "m", "decode"))


# Snapshots of weights


def header(entries: str) -> bytes:
    return struct.pack("<Q", len(entries)) + entries.encode()


def empty_tensors(count: int, shape: str = "[0]") -> str:
    entry = f'{{"dtype":"F32","shape":{shape},"data_offsets":[0,0]}}'
    return "{" + ",".join(f'"t{i}":{entry}' for i in range(count)) + "}"


HEADERS = {
    "600,000 empty tensors": (lambda: empty_tensors(600_000), "has a header of 35,288,891 bytes, more than 8,388,608"),
    "20,001 empty tensors": (lambda: empty_tensors(20_001), "has a header of 20,001 tensors, more than 20,000"),
    "wide shapes": (lambda: empty_tensors(2, f"[{','.join(['0'] * 200_000)}]"), "it has more than 320,000 values"),
    "a hole": (lambda: "{}", "more than 8,388,608"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_of_safetensors_takes_bounded_time_and_memory(name, tmp_path, bounded):
    pytest.importorskip("torch", reason="the vendor model needs the extra [vendor]")
    from pytest_ocrsweep.vendor_model import snapshot_files

    entries, expected = HEADERS[name]
    path = tmp_path / snapshot_files.WEIGHTS
    path.write_bytes(header(entries()) if name != "a hole" else struct.pack("<Q", 90_000_000))
    if name == "a hole":
        os.truncate(path, TERABYTE)
    assert expected in bounded(lambda: snapshot_files.tensors(tmp_path))


@pytest.mark.parametrize(
    ("tensors", "shards", "expected"),
    [
        (700_000, 1, "more than 8,388,608 bytes"),
        (20_001, 1, "names 20,001 tensors in 1 files, at most 20,000 in 256 are read"),
        (3000, 3000, "names 3,000 tensors in 3,000 files, at most 20,000 in 256 are read"),
    ],
)
def test_an_index_takes_bounded_time_and_memory(tensors, shards, expected, tmp_path, bounded):
    pytest.importorskip("torch", reason="the vendor model needs the extra [vendor]")
    from pytest_ocrsweep.vendor_model import snapshot_files

    names = {f"t{i}": f"{i % shards}.safetensors" for i in range(tensors)}
    (tmp_path / snapshot_files.INDEX).write_text(json.dumps({"weight_map": names}))
    del names
    assert expected in bounded(lambda: snapshot_files.tensors(tmp_path))


def test_a_config_of_a_snapshot_takes_bounded_time_and_memory(tmp_path, bounded):
    pytest.importorskip("torch", reason="the vendor model needs the extra [vendor]")
    from pytest_ocrsweep.vendor_model import snapshot_files

    path = tmp_path / "config.json"
    path.write_text('{"a": [' + ",".join(["{}"] * 340_000) + "]}")
    assert "it has more than 320,000 values" in bounded(lambda: snapshot_files.read_json(path))
    os.truncate(path, TERABYTE)
    assert "it has more than 1,048,576 bytes" in bounded(lambda: snapshot_files.read_json(path))


def test_a_refused_image_is_an_image_error(tmp_path):
    path = tmp_path / "page"
    path.write_bytes(PNG + chunk(b"eXIf", b"not TIFF"))
    with pytest.raises(ImageError, match=r"a damaged PNG header \(its tags are not those of TIFF\): save it again$"):
        page_size(path)
