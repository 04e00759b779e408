"""A page's own pixels, cut into views and crops as the reference model's image processor cuts them.

That processor (transformers, image_processing_unlimited_ocr.py) needs torchvision; this one takes Pillow, as
DeepSeek's own does.
"""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING

import torch

from ..errors import ImageError
from ..files.image_size import FORMATS, Header, read_header
from ..model.architecture import Architecture
from ..model.geometry import Workload
from . import native_pages
from .pages import Pages

if TYPE_CHECKING:
    from PIL.Image import Image

BACKGROUND = (127, 127, 127)
SQUEEZED_SIDE = 640  # the processor's maximum_pad_value: without crops, up to here a view is squeezed, not padded
MEAN = STD = 0.5
# Of patches, by colour: transformers' OPENAI_CLIP_MEAN and OPENAI_CLIP_STD.
CLIP_MEAN = torch.tensor((0.48145466, 0.4578275, 0.40821073))[:, None, None]
CLIP_STD = torch.tensor((0.26862954, 0.26130258, 0.27577711))[:, None, None]
MOST_FILE_BYTES = 1 << 28
MOST_PIXELS = 178_956_970  # Pillow's own limit, which a user can lift; decoding this many takes 2 GB
MOST_METADATA_BYTES = 1 << 26  # that Pillow keeps in memory beside the pixels


def page_pixels(
    path: str | os.PathLike[str], work: Workload, like: torch.Tensor, model: Architecture | None = None
) -> Pages:
    """The page at `path` for each page of the batch, in the dtype and on the device of `like`; raises ImageError.

    The grid is the workload's, whatever the page's own would be. Crops go row by row, or lie in patches as `model`
    takes them.
    """
    page = _page(path)
    if model is not None and model.patch_encoder is not None:
        encoder, grid = model.patch_encoder, work.grid
        whole = _bytes(_resized(page, grid.columns * encoder.tile, grid.rows * encoder.tile))
        return native_pages.of_canvas((whole.float() / 255 - CLIP_MEAN) / CLIP_STD, work, like, model)
    views = _normalised(_view(page, work)[None], work, like)
    crops = _normalised(_crops(page, work), work, like) if work.grid.crops else None
    return Pages(views, crops, work)


def _page(path: str | os.PathLike[str]) -> Image:
    """RGB, upright."""
    from PIL import Image

    header = read_header(path)  # refuses what is no page image in its own words
    problem = _excess(path, header)
    if problem:
        raise ImageError(f"page image {os.fspath(path)!r} {problem}: save a smaller one")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on odd metadata or large pages
            with Image.open(path, formats=tuple(FORMATS)) as image:
                page = image.convert("RGB")
                return page if image.format == "TIFF" else _upright(page, header.orientation)  # Pillow turns TIFF
    except Exception as error:  # Pillow names no closed set of exceptions for damaged pixels
        reason = " ".join(str(error).split()) or type(error).__name__
        message = f"page image {os.fspath(path)!r} has pixels that cannot be decoded ({reason}): save it again"
        raise ImageError(message) from None


def _excess(path: str | os.PathLike[str], header: Header) -> str:
    """What of the page is more than is decoded here."""
    found = (
        (os.path.getsize(path), MOST_FILE_BYTES, "bytes"),
        (header.width * header.height, MOST_PIXELS, "pixels"),
        (header.metadata_bytes, MOST_METADATA_BYTES, "bytes beside its pixels"),
    )
    return next((f"has {count:,} {what}, more than {most:,}" for count, most, what in found if count > most), "")


def _upright(image: Image, orientation: int | None) -> Image:
    """The header's orientation applied: Pillow's `exif_transpose` would read all of the EXIF once more."""
    from PIL.Image import Transpose

    turn = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }.get(orientation or 1)
    return image if turn is None else image.transpose(turn)


def _view(page: Image, work: Workload) -> torch.Tensor:
    """[3, side, side]: the whole page, centred."""
    from PIL import Image

    side = work.sides.base_side
    if work.sides.crop_side is None and side <= SQUEEZED_SIDE:
        return _bytes(_resized(page, side, side))
    scale = side / max(page.size)
    width, height = (max(1, round(pixels * scale)) for pixels in page.size)
    square = Image.new("RGB", (side, side), BACKGROUND)
    square.paste(_resized(page, width, height), ((side - width) // 2, (side - height) // 2))
    return _bytes(square)


def _crops(page: Image, work: Workload) -> torch.Tensor:
    """[rows · columns, 3, side, side]."""
    rows, columns, side = work.grid.rows, work.grid.columns, work.sides.crop_side
    assert side is not None  # Workload has no crops without it
    canvas = _bytes(_resized(page, columns * side, rows * side))
    return canvas.reshape(3, rows, side, columns, side).permute(1, 3, 0, 2, 4).reshape(-1, 3, side, side)


def _resized(page: Image, width: int, height: int) -> Image:
    from PIL.Image import Resampling

    return page.resize((width, height), Resampling.BICUBIC)


def _bytes(image: Image) -> torch.Tensor:
    flat = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return flat.reshape(image.height, image.width, 3).permute(2, 0, 1)


def _normalised(pixels: torch.Tensor, work: Workload, like: torch.Tensor) -> torch.Tensor:
    """0 to 255 → -1 to 1, once for each page of the batch."""
    values = (pixels.float() / 255 - MEAN) / STD
    return values.to(like.device, like.dtype).repeat(work.batch, 1, 1, 1)
