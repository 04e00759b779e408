"""Reads the displayed size of a page image from its header, and never decodes a pixel."""

from __future__ import annotations

import os
import re
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from ..errors import ImageError

ORIENTATION = 274  # the EXIF and TIFF tag
SIDEWAYS = (5, 6, 7, 8)  # orientations that swap width and height
MAX_EXIF_BYTES = 1 << 24  # a file may declare more, but gets no more memory than this

Header = tuple[object, object, object]  # width, height and orientation as the file declares them, not yet checked


@dataclass(frozen=True, slots=True)
class PageSize:
    """Pixels across and down the page as displayed; `CropGrid.for_image` takes them in this order."""

    width: int
    height: int


def page_size(path: str | os.PathLike[str]) -> PageSize:
    """The displayed size of a PNG, JPEG, TIFF (its first page) or WebP file; raises ImageError.

    EXIF orientation is applied. Pixels may be damaged, missing or too many to decode: nothing reads them.
    """
    where = f"page image {os.fspath(path)!r}"
    if not os.path.isfile(path):  # a pipe could keep us waiting
        problem = "is not a file" if os.path.exists(path) else "does not exist"
        raise ImageError(f"{where} {problem}: give the path of a {SUPPORTED} file")
    try:
        stream = open(path, "rb")  # noqa: SIM115  closed below; only an error of `open` is caught
    except OSError as error:
        raise ImageError(f"{where} cannot be opened ({error.strerror}): check its permissions") from None
    with stream:
        return _displayed_size(stream, where)


def _displayed_size(stream: BinaryIO, where: str) -> PageSize:
    try:
        start = stream.read(12)
        kind = next((name for name, magic in MAGIC.items() if magic.match(start)), None)
        if kind is None:
            raise ImageError(f"{where} is not a {SUPPORTED} image: convert it to one of them")
        stream.seek(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd metadata; the user's tests must not fail on that
            width, height, orientation = READERS[kind](stream)
    except ImageError:
        raise
    except Exception as error:  # Pillow raises many types for damaged bytes and documents none
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"{where} has a damaged {kind} header ({reason}): save it again") from None
    if type(width) is not int or type(height) is not int or width < 1 or height < 1:
        raise ImageError(f"{where} declares a size of {width!r}x{height!r} pixels: save it again")
    return PageSize(height, width) if orientation in SIDEWAYS else PageSize(width, height)


# Pillow's classes are called directly: `Image.open` refuses large pages, and nothing is decoded here.


def _png(stream: BinaryIO) -> Header:
    from PIL import Image
    from PIL.PngImagePlugin import PngImageFile

    image = PngImageFile(stream)
    if not image.info.keys() & {"exif", "Raw profile type exif"}:
        image.info["exif"] = _png_exif(stream)
    # PngImageFile.getexif would decode the pixels to find metadata behind them.
    return *image.size, Image.Image.getexif(image).get(ORIENTATION)


def _png_exif(stream: BinaryIO) -> bytes:
    """The EXIF chunk; the format allows it before and behind the pixels."""
    stream.seek(8)
    while len(head := stream.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        if name == b"eXIf":
            return stream.read(min(length, MAX_EXIF_BYTES))
        stream.seek(length + 4, os.SEEK_CUR)  # 4: the checksum
    return b""


def _jpeg(stream: BinaryIO) -> Header:
    from PIL.JpegImagePlugin import JpegImageFile

    image = JpegImageFile(stream)
    return *image.size, image.getexif().get(ORIENTATION)


def _tiff(stream: BinaryIO) -> Header:
    """Reads the tags, because it depends on Pillow's version whether a `TiffImageFile` swaps the sides."""
    from PIL.TiffImagePlugin import IMAGELENGTH, IMAGEWIDTH, ImageFileDirectory_v2

    header = stream.read(8)
    if header[2:4] in (b"+\0", b"\0+"):  # BigTIFF
        header += stream.read(8)
    tags = ImageFileDirectory_v2(header)
    stream.seek(tags.next)
    tags.load(stream)
    return tags.get(IMAGEWIDTH), tags.get(IMAGELENGTH), tags.get(ORIENTATION)


def _webp(stream: BinaryIO) -> Header:
    """Reads the container, because Pillow would read the whole file and start a decoder.

    Source: RFC 9649, sections 2.5 to 2.7.
    """
    from PIL import Image

    stream.seek(12)
    name, _, body = struct.unpack("<4sI10s", stream.read(18))
    exif = Image.Exif()
    if name == b"VP8X":  # extended: flags, then the canvas
        width, height = (int.from_bytes(body[i : i + 3], "little") + 1 for i in (4, 7))
        if body[0] & 0x08:
            exif.load(_webp_exif(stream))
    elif name == b"VP8 " and body[3:6] == b"\x9d\x01\x2a":  # lossy: a start code, then 14 bits a side
        width, height = (side & 0x3FFF for side in struct.unpack("<HH", body[6:]))
    elif name == b"VP8L" and body[0] == 0x2F:  # lossless: a signature, then 14 bits a side
        bits = int.from_bytes(body[1:5], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        raise ValueError(f"unexpected first chunk {name!r}")
    return width, height, exif.get(ORIENTATION)


def _webp_exif(stream: BinaryIO) -> bytes:
    stream.seek(12)
    while len(head := stream.read(8)) == 8:
        name, length = struct.unpack("<4sI", head)
        if name == b"EXIF":
            return stream.read(min(length, MAX_EXIF_BYTES))
        stream.seek(length + length % 2, os.SEEK_CUR)
    return b""


READERS: dict[str, Callable[[BinaryIO], Header]] = {
    "PNG": _png,
    "JPEG": _jpeg,
    "TIFF": _tiff,
    "WebP": _webp,
}
MAGIC = {
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "TIFF": re.compile(rb"II[*+]\0|MM\0[*+]"),
    "WebP": re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
}
SUPPORTED = "PNG, JPEG, TIFF or WebP"
