"""Reads the displayed size of a page image from its header, and never decodes a pixel."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

from ..errors import ImageError
from .image_header import FORMATS, kind_of
from .image_metadata import Header, HeaderError

__all__ = ["FORMATS", "Header", "PageSize", "page_size", "read_header"]

SIDEWAYS = (5, 6, 7, 8)  # orientations that swap width and height
SUPPORTED = "PNG, JPEG, TIFF or WebP"


@dataclass(frozen=True, slots=True)
class PageSize:
    """Pixels across and down the page as displayed; `CropGrid.for_image` takes them in this order."""

    width: int
    height: int


def page_size(path: str | os.PathLike[str]) -> PageSize:
    """The displayed size of a PNG, JPEG, TIFF (its first page) or WebP file; raises ImageError.

    EXIF or XMP orientation is applied. Pixels may be damaged, missing or too many to decode: nothing reads them. No
    file takes more than the limits of `image_header`.
    """
    header = read_header(path)
    width, height = header.width, header.height
    return PageSize(height, width) if header.orientation in SIDEWAYS else PageSize(width, height)


def read_header(path: str | os.PathLike[str]) -> Header:
    """What a page image declares, with sides of at least a pixel; raises ImageError."""
    where = f"page image {os.fspath(path)!r}"
    if not os.path.isfile(path):  # a pipe could keep us waiting
        problem = "is not a file" if os.path.exists(path) else "does not exist"
        raise ImageError(f"{where} {problem}: give the path of a {SUPPORTED} file")
    try:
        with open(path, "rb") as stream:
            kind = kind_of(stream.read(12))
            if kind is None:
                raise ImageError(f"{where} is not a {SUPPORTED} image: convert it to one of them")
            header = FORMATS[kind].read(stream)
    except OSError as error:
        raise ImageError(f"{where} cannot be opened ({error.strerror}): check its permissions") from None
    except HeaderError as error:
        raise ImageError(f"{where} has a damaged {kind} header ({error}): save it again") from None
    except struct.error:
        raise ImageError(f"{where} has a damaged {kind} header (it ends early): save it again") from None
    if header.width < 1 or header.height < 1:
        raise ImageError(f"{where} declares a size of {header.width}x{header.height} pixels: save it again")
    return header
