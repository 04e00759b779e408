"""The displayed size of a page, told from its header, whatever the bytes are."""

from __future__ import annotations

import io
import os
import struct
import zlib

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, ImageOps, features
from PIL.PngImagePlugin import PngInfo

from pytest_ocrsweep.errors import ImageError
from pytest_ocrsweep.files.image_size import FORMATS, PageSize, page_size

WIDTH, HEIGHT = 70, 40
JPEG_PREFIX = b"Exif\0\0"


def encoded(kind: str, size: tuple[int, int] = (WIDTH, HEIGHT), mode: str = "RGB", **options) -> bytes:
    """A page of noise, so that the pixels are most of the file."""
    page = Image.frombytes("RGB", size, os.urandom(3 * size[0] * size[1])).convert(mode)
    buffer = io.BytesIO()
    page.save(buffer, kind, **options)
    return buffer.getvalue()


def oriented(kind: str, orientation: int, **options) -> bytes:
    return encoded(kind, exif=JPEG_PREFIX + exif_bytes(orientation), **options)


def png(width: int, height: int, *after: tuple[bytes, bytes]) -> bytes:
    header = (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    chunks = (
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in (header, (b"IDAT", b"not pixels"), *after)
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def tiff(width: int, height: int, *more: bytes) -> bytes:
    """Tags alone: width, height, and not one strip."""
    sides = (struct.pack("<HHII", tag, 4, 1, value) for tag, value in ((256, width), (257, height)))
    return b"II*\0" + struct.pack("<IH", 8, 2 + len(more)) + b"".join((*sides, *more)) + bytes(4)


def exif_bytes(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[274] = orientation
    return exif.tobytes().removeprefix(JPEG_PREFIX)


@pytest.fixture
def page(tmp_path):
    """Writes bytes to a file and gives its path."""

    def write(content: bytes):
        path = tmp_path / "page"
        path.write_bytes(content)
        return path

    return write


@pytest.fixture(autouse=True)
def _no_pixels(monkeypatch):
    def load(self):
        raise AssertionError("pixels were decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)


def refusal_lines(path) -> list[str]:
    """The lines of the refusal; none when the size is told."""
    try:
        page_size(path)
    except ImageError as error:
        return str(error).splitlines()
    return []


def refusal(path) -> str:
    (message,) = refusal_lines(path)
    assert repr(str(path)) in message
    return message


@pytest.mark.parametrize("kind", FORMATS)
def test_each_format_tells_width_and_height(page, kind):
    assert page_size(page(encoded(kind))) == PageSize(WIDTH, HEIGHT)
    assert page_size(str(page(encoded(kind)))) == PageSize(width=WIDTH, height=HEIGHT)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", FORMATS)
def test_orientations_5_to_8_swap_the_sides(page, kind, orientation):
    expected = PageSize(HEIGHT, WIDTH) if orientation >= 5 else PageSize(WIDTH, HEIGHT)
    assert page_size(page(oriented(kind, orientation))) == expected


@pytest.mark.parametrize("kind", FORMATS)
def test_the_size_is_the_one_pillow_shows(page, kind, monkeypatch):
    path = page(oriented(kind, 6))
    found = page_size(path)
    monkeypatch.undo()
    with Image.open(path) as image:
        assert ImageOps.exif_transpose(image).size == (found.width, found.height)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("lossless", [False, True])
def test_each_kind_of_webp_tells_its_size(page, lossless, mode):
    content = encoded("WebP", (5001, 17), mode, lossless=lossless)
    assert page_size(page(content)) == PageSize(5001, 17)


def test_an_animated_webp_tells_its_canvas(page):
    frames = [Image.new("RGB", (WIDTH, HEIGHT), colour) for colour in ("red", "blue")]
    content = encoded("WebP", save_all=True, append_images=frames)
    assert page_size(page(content)) == PageSize(WIDTH, HEIGHT)


@pytest.mark.skipif(not features.check("libtiff"), reason="this Pillow cannot write compressed TIFF")
def test_a_compressed_tiff_and_a_big_tiff_tell_their_size(page):
    assert page_size(page(encoded("TIFF", compression="tiff_lzw"))) == PageSize(WIDTH, HEIGHT)
    assert page_size(page(encoded("TIFF", big_tiff=True))) == PageSize(WIDTH, HEIGHT)


def test_orientation_behind_the_pixels_of_a_png_counts(page):
    assert page_size(page(png(WIDTH, HEIGHT, (b"eXIf", exif_bytes(6))))) == PageSize(HEIGHT, WIDTH)


def test_orientation_in_the_text_of_a_png_counts(page):
    """As ImageMagick wrote it before PNG had a chunk for it."""
    text = PngInfo()
    text.add_text("Raw profile type exif", f"\nexif\n  99\n{(JPEG_PREFIX + exif_bytes(6)).hex()}")
    assert page_size(page(encoded("PNG", pnginfo=text))) == PageSize(HEIGHT, WIDTH)


def test_orientation_behind_an_odd_chunk_of_a_webp_counts(page):
    canvas = b"\x08" + bytes(3) + (WIDTH - 1).to_bytes(3, "little") + (HEIGHT - 1).to_bytes(3, "little")
    chunks = ((b"VP8X", canvas), (b"ICCP", b"odd"), (b"EXIF", exif_bytes(6)))
    body = b"".join(name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for name, data in chunks)
    content = b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body
    assert page_size(page(content)) == PageSize(HEIGHT, WIDTH)


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


@pytest.mark.parametrize("kind", FORMATS)
def test_orientation_in_xmp_counts_as_it_does_to_pillow(page, kind, monkeypatch):
    path = page(encoded(kind, **xmp_of(kind)))
    assert page_size(path) == PageSize(HEIGHT, WIDTH)
    monkeypatch.undo()
    with Image.open(path) as image:
        assert ImageOps.exif_transpose(image).size == (HEIGHT, WIDTH)


def xmp_of(kind: str) -> dict[str, object]:
    """The options that make Pillow write it; it compresses that of a PNG."""
    text = PngInfo()
    text.add_itxt("XML:com.adobe.xmp", XMP.decode(), zip=True)
    return {"PNG": {"pnginfo": text}, "TIFF": {"tiffinfo": {700: XMP}}}.get(kind, {"xmp": XMP})


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WebP"])
def test_orientation_in_exif_comes_before_that_in_xmp(page, kind):
    assert page_size(page(oriented(kind, 1, **xmp_of(kind)))) == PageSize(WIDTH, HEIGHT)


@pytest.mark.filterwarnings("error")
def test_odd_metadata_neither_warns_nor_hides_the_size(page):
    beyond_the_file = struct.pack("<HHII", 700, 1, 10_000, 5000)
    assert page_size(page(tiff(WIDTH, HEIGHT, beyond_the_file))) == PageSize(WIDTH, HEIGHT)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WebP"])
def test_a_file_cut_off_in_its_pixels_tells_its_size(page, kind):
    content = encoded(kind, (300, 200))
    assert page_size(page(content[:1000])) == PageSize(300, 200)


@pytest.mark.parametrize("make", [png, tiff])
def test_a_page_too_large_to_decode_tells_its_size(page, make):
    assert page_size(page(make(200_000, 100_000))) == PageSize(200_000, 100_000)


@pytest.mark.parametrize("make", [png, tiff])
@pytest.mark.parametrize(("width", "height"), [(0, 10), (10, 0)])
def test_a_page_without_area_is_refused(page, make, width, height):
    assert "save it again" in refusal(page(make(width, height)))


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    assert "does not exist: give the path of a PNG, JPEG, TIFF or WebP file" in refusal(tmp_path / "none.png")
    assert "is not a file: give the path of a PNG" in refusal(tmp_path)
    assert "does not exist" in refusal("a\0b")


def test_a_pipe_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "is not a file" in refusal(tmp_path / "pipe")


def test_a_file_that_may_not_be_read_is_refused(page, monkeypatch):
    def denied(*_):
        raise PermissionError(13, "Permission denied")

    path = page(encoded("PNG"))
    monkeypatch.setattr("builtins.open", denied)
    assert "cannot be opened (Permission denied): check its permissions" in refusal(path)


@pytest.mark.parametrize("content", [b"", b"%PDF-1.7", b"GIF89a", b"hello", b"\x89PNG"])
def test_what_is_no_supported_image_is_told_what_is(page, content):
    message = refusal(page(content))
    assert message.endswith("is not a PNG, JPEG, TIFF or WebP image: convert it to one of them")


@pytest.mark.parametrize("kind", FORMATS)
def test_a_header_cut_off_is_called_damaged(page, kind):
    message = refusal(page(encoded(kind)[:14]))
    assert kind in message or "declares a size of" in message
    assert message.endswith("save it again")


@pytest.mark.filterwarnings("error")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0+", b"RIFF0000WEBPVP8X"]),
    st.binary(),
)
def test_random_bytes_end_in_a_size_or_a_line(page, start, rest):
    assert len(refusal_lines(page(start + rest))) <= 1


SAMPLES = [oriented(kind, 6, **({"lossless": True} if kind == "WebP" else {})) for kind in FORMATS]


@pytest.mark.filterwarnings("error")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(SAMPLES),
    st.lists(st.tuples(st.integers(0, 300), st.binary(min_size=1, max_size=8)), max_size=4),
    st.integers(12, 10_000),
)
@example(SAMPLES[0], [(8, b"\xff\xff\xff\xff")], 10_000)
def test_mutated_images_end_in_a_size_or_a_line(page, sample, edits, length):
    content = bytearray(sample)
    for at, replacement in edits:
        content[at : at + len(replacement)] = replacement
    assert len(refusal_lines(page(bytes(content[:length])))) <= 1
