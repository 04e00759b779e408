"""Orientation of a page image from its EXIF, XMP or TIFF tags, read in bounded time and memory.

No value of a tag is read but single whole numbers and the text of XMP. Source: TIFF 6.0, section 2.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from io import SEEK_END, BytesIO
from typing import BinaryIO, NamedTuple

MOST_BYTES = 1 << 24  # EXIF and XMP of a file together
MOST_TAGS = 100_000
XMP, ORIENTATION = 700, 274  # tags
TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
UNSIGNED = {1: "B", 3: "H", 4: "I", 16: "Q"}  # types of whole numbers
EXIF_PREFIX = re.compile(rb"(Exif\0\0){1,2}")
XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')


class HeaderError(ValueError):
    """What is wrong with a header, in a few words."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a file declares; `metadata_bytes` is what a decoder may keep in memory beside the pixels."""

    width: int
    height: int
    orientation: int | None
    metadata_bytes: int


class Directory(NamedTuple):
    """Tags of TIFF or EXIF that hold one whole number, where its XMP lies, and what the values behind it take."""

    numbers: dict[int, int]
    xmp: tuple[int, int] | None
    total_bytes: int


def directory(stream: BinaryIO) -> Directory:
    """The first directory; one that the file cuts off has the tags that are there."""
    head = stream.read(8)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or head[2:4] not in (b"*\0", b"\0*", b"+\0", b"\0+"):
        raise HeaderError("its tags are not those of TIFF")
    big = b"+" in head[2:4]
    (start,) = struct.unpack(order + "Q", stream.read(8)) if big else struct.unpack(order + "I", head[4:])
    end = stream.seek(0, SEEK_END)
    if start > end:
        raise HeaderError(f"its tags lie at byte {start:,}, it ends at byte {end:,}")
    stream.seek(start)
    (count,) = struct.unpack(order + "Q", stream.read(8)) if big else struct.unpack(order + "H", stream.read(2))
    if count > MOST_TAGS:
        raise HeaderError(f"it has more than {MOST_TAGS:,} tags")
    tag = struct.Struct(order + ("HHQ8s" if big else "HHI4s"))
    entries = stream.read(count * tag.size)
    numbers: dict[int, int] = {}
    xmp, total = None, 0
    for number, type_, amount, value in tag.iter_unpack(entries[: len(entries) // tag.size * tag.size]):
        length = amount * TYPE_BYTES.get(type_, 0)
        if amount == 1 and type_ in UNSIGNED and length <= len(value):
            numbers.setdefault(number, struct.unpack_from(order + UNSIGNED[type_], value)[0])
        elif length > len(value):
            total += length
            (at,) = struct.unpack(order + ("Q" if big else "I"), value)
            xmp = (at, length) if number == XMP and at < end else xmp
    return Directory(numbers, xmp, total)


@dataclass(slots=True)
class Metadata:
    """EXIF and XMP as they are found; `total_bytes` is what else a decoder may keep in memory beside the pixels."""

    exif: bytes = b""
    xmp: bytes = b""
    total_bytes: int = 0
    read_bytes: int = 0

    def read(self, stream: BinaryIO, length: int) -> bytes:
        """The next bytes of the file. Raises HeaderError for more than the limit, without reading them."""
        self.read_bytes += length
        if self.read_bytes > MOST_BYTES:
            raise HeaderError(f"it has more than {MOST_BYTES:,} bytes of EXIF and XMP")
        return stream.read(length)

    def header(self, width: int, height: int) -> Header:
        """The header with the orientation of EXIF, or else of XMP, as Pillow's `exif_transpose` chooses."""
        exif = EXIF_PREFIX.sub(b"", self.exif, count=1) if EXIF_PREFIX.match(self.exif) else self.exif
        tags = directory(BytesIO(exif)) if exif else Directory({}, None, 0)
        match = XMP_ORIENTATION.search(self.xmp)
        orientation = tags.numbers.get(ORIENTATION, int(match[1]) if match else None)
        return Header(width, height, orientation, self.total_bytes + tags.total_bytes)
