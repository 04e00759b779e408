"""Headers of PNG, JPEG, TIFF and WebP files, read in bounded time and memory, whatever they declare.

Pillow follows each length that a file declares, up to gigabytes, and JPEG markers without end; so does imagesize, which
leaves out the orientation of PNG as well. Sources: PNG (third edition), 5.3 and 11.3; ITU-T T.81, annex B; TIFF 6.0,
section 2; RFC 9649, sections 2.5 to 2.7.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from os import SEEK_CUR
from typing import BinaryIO, NamedTuple

from .image_metadata import ORIENTATION, Header, HeaderError, Metadata, directory

MOST_PARTS = 100_000  # chunks or markers of a file; a PNG of 800 MB has that many
MOST_UNPACKED_BYTES = 1 << 20  # metadata that a PNG holds compressed

WIDTH, HEIGHT = 256, 257  # tags of TIFF
JPEG_EXIF, JPEG_XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
PNG_EXIF, PNG_XMP = b"Raw profile type exif\0", b"XML:com.adobe.xmp\0"  # keywords of text chunks
PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
JPEG_BARE = (b"\xff", b"\0", b"\1", *(bytes([code]) for code in range(0xD0, 0xDA)))  # markers without a segment
JPEG_FRAMES = tuple(bytes([code]) for code in range(0xC0, 0xD0) if code not in (0xC4, 0xC8, 0xCC))
WEBP_METADATA = 0x0C  # flags: EXIF and XMP


class Format(NamedTuple):
    """How files of a kind begin, and what reads the others' bytes."""

    magic: re.Pattern[bytes]
    read: Callable[[BinaryIO], Header]


def kind_of(start: bytes) -> str | None:
    """The format of a file that starts with these bytes."""
    return next((name for name, one in FORMATS.items() if one.magic.match(start)), None)


def _parts() -> Iterator[int]:
    yield from range(MOST_PARTS)
    raise HeaderError(f"it has more than {MOST_PARTS:,} parts")


def _png(stream: BinaryIO) -> Header:
    """The format allows EXIF before and behind the pixels."""
    stream.seek(8)
    _, name, width, height = struct.unpack(">I4sII", stream.read(16))
    if name != b"IHDR":
        raise HeaderError(f"its first chunk is {name!r}, not IHDR")
    found, at = Metadata(), 8
    for _ in _parts():
        stream.seek(at)
        head = stream.read(8)
        if len(head) < 8 or head[4:] == b"IEND":
            break
        length, name = struct.unpack(">I4s", head)
        if name == b"eXIf":
            found.exif = found.read(stream, length)
        elif name in PNG_TEXTS:
            _png_text(stream, name, length, found)
        found.total_bytes += 0 if name == b"IDAT" else length
        at += 12 + length  # with the checksum
    return found.header(width, height)


def _png_text(stream: BinaryIO, name: bytes, length: int, found: Metadata) -> None:
    """Before PNG had a chunk for EXIF, ImageMagick wrote it as text: hexadecimal digits behind three lines."""
    start = stream.read(min(length, len(PNG_EXIF)))
    if start.startswith((PNG_EXIF, PNG_XMP)):
        text = _unpacked(name, (start + found.read(stream, length - len(start))).partition(b"\0")[2])
        if start.startswith(PNG_XMP):
            found.xmp = text
        elif not found.exif:
            with _as_header_error():
                found.exif = bytes.fromhex("".join(text.decode("latin-1").split("\n")[3:]))


def _unpacked(name: bytes, body: bytes) -> bytes:
    """The text of a chunk, without the keyword that it begins with."""
    packed = name == b"zTXt" or (name == b"iTXt" and body[:1] == b"\1")
    text = body[1:] if name == b"zTXt" else body
    if name == b"iTXt":  # flag, method, language, translated keyword
        text = body[2:].split(b"\0", 2)[-1]
    if not packed:
        return text
    unpacker = zlib.decompressobj()
    with _as_header_error():
        text = unpacker.decompress(text, MOST_UNPACKED_BYTES)
    if unpacker.unconsumed_tail:
        raise HeaderError(f"its metadata unpack to more than {MOST_UNPACKED_BYTES:,} bytes")
    return text


def _jpeg(stream: BinaryIO) -> Header:
    """Marker by marker, up to the start of the pixels."""
    stream.seek(2)
    found, height, width = Metadata(), 0, 0
    for _ in _parts():
        marker = stream.read(1)
        if marker == b"\xff":
            marker = stream.read(1)
            if marker == b"\xff":  # a fill byte
                stream.seek(-1, SEEK_CUR)
            if marker in JPEG_BARE:
                continue
        elif marker:
            continue  # what lies between two markers
        if marker in (b"", b"\xda"):
            break
        length = int.from_bytes(stream.read(2), "big") - 2
        end = stream.tell() + max(0, length)
        if marker in JPEG_FRAMES:
            height, width = struct.unpack(">xHH", stream.read(5))
        elif marker == b"\xe1":
            _jpeg_metadata(stream, length, found)
        found.total_bytes += max(0, length)
        stream.seek(end)
    return found.header(width, height)


def _jpeg_metadata(stream: BinaryIO, length: int, found: Metadata) -> None:
    """EXIF, which may go on in further segments, or XMP."""
    start = stream.read(min(max(0, length), len(JPEG_XMP)))
    if start.startswith(JPEG_EXIF):
        found.exif += start[len(JPEG_EXIF) :] + found.read(stream, length - len(start))
    elif start == JPEG_XMP:
        found.xmp = found.read(stream, length - len(start))


def _tiff(stream: BinaryIO) -> Header:
    stream.seek(0)
    tags = directory(stream)
    found = Metadata(total_bytes=tags.total_bytes)
    if ORIENTATION not in tags.numbers and tags.xmp is not None:
        at, length = tags.xmp
        stream.seek(at)
        found.xmp = found.read(stream, length)
    header = found.header(tags.numbers.get(WIDTH, 0), tags.numbers.get(HEIGHT, 0))
    return replace(header, orientation=tags.numbers.get(ORIENTATION, header.orientation))


def _webp(stream: BinaryIO) -> Header:
    stream.seek(12)
    name, _, body = struct.unpack("<4sI10s", stream.read(18))
    found = Metadata()
    if name == b"VP8X":  # extended: flags, then the canvas
        width, height = (int.from_bytes(body[i : i + 3], "little") + 1 for i in (4, 7))
        if body[0] & WEBP_METADATA:
            _webp_metadata(stream, found)
    elif name == b"VP8 " and body[3:6] == b"\x9d\x01\x2a":  # lossy: a start code, then 14 bits a side
        width, height = (side & 0x3FFF for side in struct.unpack("<HH", body[6:]))
    elif name == b"VP8L" and body[0] == 0x2F:  # lossless: a signature, then 14 bits a side
        bits = int.from_bytes(body[1:5], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        raise HeaderError(f"its first chunk is {name!r}")
    return found.header(width, height)


def _webp_metadata(stream: BinaryIO, found: Metadata) -> None:
    at = 12
    for _ in _parts():
        stream.seek(at)
        head = stream.read(8)
        if len(head) < 8:
            break
        name, length = struct.unpack("<4sI", head)
        if name == b"EXIF":
            found.exif = found.read(stream, length)
        elif name == b"XMP ":
            found.xmp = found.read(stream, length)
        at += 8 + length + length % 2


@contextmanager
def _as_header_error() -> Iterator[None]:
    try:
        yield
    except (ValueError, zlib.error) as error:
        raise HeaderError(str(error)) from None


FORMATS = {
    "PNG": Format(re.compile(rb"\x89PNG\r\n\x1a\n"), _png),
    "JPEG": Format(re.compile(rb"\xff\xd8\xff"), _jpeg),
    "TIFF": Format(re.compile(rb"II[*+]\0|MM\0[*+]"), _tiff),
    "WebP": Format(re.compile(rb"RIFF.{4}WEBP", re.DOTALL), _webp),
}
