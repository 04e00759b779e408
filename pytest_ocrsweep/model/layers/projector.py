"""From encoder features to image tokens: one linear layer, newline tokens, a separator, their place in the prompt.

Source: transformers 5.23, modeling_unlimited_ocr.py, UnlimitedOcrModel.get_image_features and forward;
modeling_deepseek_ocr2.py, DeepseekOcr2Model.
"""

from __future__ import annotations

from ..kernels import HALF, INDEX, Kernel, Kernels, Pattern, allocated, in_place, kernel, only_if
from ..operations import copy, elementwise, linear
from ..parameters import vectors
from ..symbolic import Size


def joined_bytes(images: Size, patches: int, clip_width: int, sam_width: int) -> Size:
    """[images, patches², clip + sam]."""
    return images * patches * patches * (clip_width + sam_width) * HALF


def join(images: Size, patches: int, clip_width: int, sam_width: int) -> Kernel:
    """Concatenates CLIP's patch tokens, without the class token, and SAM's features: [images, patches², clip + sam]."""
    tokens = images * patches * patches
    size = joined_bytes(images, patches, clip_width, sam_width)
    freed = (images * (patches * patches + 1) * clip_width * HALF, tokens * sam_width * HALF)
    parts = (tokens * clip_width * HALF, tokens * sam_width * HALF)
    return kernel("join", reads=parts, writes=size, frees=freed)


def project(images: Size, patches: int, features: int, width: int) -> Kernel:
    """[images · patches², features] → width, for patch tokens only: newline and separator tokens have that width."""
    return linear("linear", images * patches * patches, features, width)


def project_some(images: Size, patches: int, width: int, out: int, many: Size) -> Kernels:
    """The same of the queries alone, which lie apart if there are several images: the bias is then added after."""
    tokens = images * patches * patches
    alone = linear("linear/alone", tokens, width, out)
    yield only_if(1 - many, alone)
    apart = linear("linear/product", tokens, width, out, bias=False)._replace(pattern=Pattern.BATCHED)
    yield only_if(many, apart)
    yield only_if(
        many, elementwise("linear/bias", "add", tokens * out, parameters=vectors(out), frees=tokens * out * HALF)
    )


def newlines(path: str, batch: Size, lines: Size, columns: Size, width: int, *, owner: bool) -> Kernel:
    """Appends the newline token to each of `lines` lines of `columns` tokens, page by page."""
    out = batch * lines * (columns + 1) * width
    together = kernel(
        path,
        reads=batch * lines * columns * width * HALF,
        weights=batch * width * HALF,
        resident=width * HALF if owner else 0,
        writes=out * HALF,
        pattern=Pattern.STRIDED,
        work=out,
        parameters=vectors(width),
    )
    return together._replace(by_page=True)


def place_crops(elements: Size) -> Kernel:
    """Copies crops that stand side by side into rows of tokens that run through all of them."""
    return copy("place_crops", elements)._replace(by_page=True)


def pages(batch: Size, tokens: Size, width: int) -> Kernel:
    """Concatenates crop lines, global lines and the separator of each page: [tokens, width], a tensor a page."""
    together = kernel(
        "pages",
        reads=batch * (tokens - 1) * width * HALF,
        weights=batch * width * HALF,
        resident=width * HALF,
        writes=batch * tokens * width * HALF,
        parameters=vectors(width),
    )
    return together._replace(allocates=batch * allocated(tokens * width * HALF), by_page=True)


def scatter(batch: Size, image_tokens: Size, context: Size, width: int) -> Kernels:
    """Puts image tokens into the prompt at their places; the mask of these places lives until the decoder ends."""
    mask, prompt = batch * context, batch * context * width * HALF
    image = batch * image_tokens * width
    yield copy("concatenate", image)
    yield kernel("find", reads=mask * INDEX, writes=mask)
    yield kernel(
        "scatter",
        reads=(prompt, mask, image * HALF),
        writes=prompt,
        frees=prompt,
        launches=6,  # it counts the places before each one first
    )


def indexed(batch: Size, image_tokens: Size, width: int) -> Kernels:
    """The same where the host knows the places: their indices go to the device, and the image tokens to the indices.

    Source: vLLM 0.26, model_executor/models/utils.py, _merge_multimodal_embeddings.
    """
    image, places = batch * image_tokens * width, batch * image_tokens * INDEX
    yield copy("concatenate", image)
    yield kernel("places", writes=places)
    written = in_place(kernel("scatter", reads=(image * HALF, places), writes=image * HALF, pattern=Pattern.STRIDED))
    freed = (image * HALF, places)
    yield written._replace(work=image, frees=allocated(freed), freed=(*written.freed, *freed))
