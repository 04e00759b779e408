"""From encoder features to image tokens: one linear layer, newline tokens, a separator, their place in the prompt.

Source: transformers 5.23, modeling_unlimited_ocr.py, UnlimitedOcrModel.get_image_features and forward.
"""

from __future__ import annotations

from ..kernels import HALF, INDEX, Kernel, Kernels, copy, kernel, linear
from ..symbolic import Size


def joined_bytes(images: Size, patches: int, clip_width: int, sam_width: int) -> Size:
    """[images, patches², clip + sam]."""
    return images * patches * patches * (clip_width + sam_width) * HALF


def join(images: Size, patches: int, clip_width: int, sam_width: int) -> Kernel:
    """CLIP's patch tokens (without the class token) beside SAM's features: [images, patches², clip + sam]."""
    tokens = images * patches * patches
    size = joined_bytes(images, patches, clip_width, sam_width)
    freed = (images * (patches * patches + 1) * clip_width * HALF, tokens * sam_width * HALF)
    parts = (tokens * clip_width * HALF, tokens * sam_width * HALF)
    return kernel("join", reads=parts, writes=size, frees=freed)


def project(images: Size, patches: int, features: int, width: int) -> Kernel:
    """Patch tokens only: newline and separator tokens are parameters of the decoder's width already."""
    return linear("linear", images * patches * patches, features, width)


def newlines(path: str, batch: Size, lines: Size, columns: Size, width: int, *, owner: bool) -> Kernel:
    """Ends each of `lines` lines of `columns` tokens with the newline token, page by page."""
    return kernel(
        path,
        reads=batch * lines * columns * width * HALF,
        weights=batch * width * HALF,
        resident=width * HALF if owner else 0,
        writes=batch * lines * (columns + 1) * width * HALF,
    )


def place_crops(elements: Size) -> Kernel:
    """Crops that stand side by side are copied into rows of tokens that run through all of them."""
    return copy("place_crops", elements)


def pages(batch: Size, tokens: Size, width: int) -> Kernel:
    """Crop lines, global lines and the separator, page by page: [tokens, width] each."""
    return kernel(
        "pages",
        reads=batch * (tokens - 1) * width * HALF,
        weights=batch * width * HALF,
        resident=width * HALF,
        writes=batch * tokens * width * HALF,
    )


def scatter(batch: Size, image_tokens: Size, context: Size, width: int) -> Kernels:
    """Puts the pages' tokens in place of the prompt's image tokens; the mask of these lives until the decoder ends."""
    found, prompt = batch * context, batch * context * width * HALF
    image = batch * image_tokens * width
    yield copy("concatenate", image)
    yield kernel("find", reads=found * INDEX, writes=found)
    yield kernel(
        "scatter",
        reads=(prompt, found, image * HALF),
        writes=prompt,
        frees=prompt,
    )
