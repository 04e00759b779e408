"""A page's pixels reach the vendor's model as the vendor's own image processor would hand them over."""

from __future__ import annotations

import pytest
from PIL import Image, ImageOps

torch = pytest.importorskip("torch", reason="the vendor model needs the extra [vendor]")
pytest.importorskip("transformers", reason="the vendor model needs the extra [vendor]")

from small_pages import small  # noqa: E402

from pytest_ocrsweep import CropGrid, Workload  # noqa: E402
from pytest_ocrsweep.errors import ImageError  # noqa: E402
from pytest_ocrsweep.vendor_model.forward import pages  # noqa: E402
from pytest_ocrsweep.vendor_model.pixels import page_pixels  # noqa: E402

LIKE = torch.empty(0)
GREY = 127 / 255 * 2 - 1
WIDE = Workload(CropGrid(2, 3))  # 2 rows, 3 columns of 640, and a view of 1024


@pytest.fixture
def saved(tmp_path):
    """Writes a page and gives its path; PNG, so that pixels come back as they were."""

    def save(image: Image.Image, **options):
        path = tmp_path / "page.png"
        image.save(path, **options)
        return path

    return save


def noise(width: int, height: int) -> Image.Image:
    generator = torch.Generator().manual_seed(3)
    pixels = torch.randint(0, 256, (height, width, 3), dtype=torch.uint8, generator=generator)
    return Image.frombytes("RGB", (width, height), bytes(pixels.flatten().tolist()))


def painted(grid: CropGrid, side: int) -> Image.Image:
    """A tile a crop, each with its place as its colour: red its row, green its column."""
    page = Image.new("RGB", (grid.columns * side, grid.rows * side))
    for row in range(grid.rows):
        for column in range(grid.columns):
            page.paste((row, column, 200), (column * side, row * side, (column + 1) * side, (row + 1) * side))
    return page


def levels(pixels: torch.Tensor) -> torch.Tensor:
    """0 to 255 again."""
    return ((pixels.float() + 1) / 2 * 255).round()


@pytest.mark.parametrize(
    "work",
    [
        Workload(CropGrid(2, 3), batch=2),
        Workload(CropGrid(3, 1), resolution="gundam-m"),
        *(Workload(CropGrid(1, 1), resolution=name) for name in ("gundam", "tiny", "small", "base", "large")),
    ],
    ids=lambda work: f"{work.resolution}-{work.grid}",
)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_a_page_has_the_shapes_and_dtype_of_random_pixels(saved, work, dtype):
    like = torch.empty(0, dtype=dtype)
    found, random = page_pixels(saved(noise(90, 70)), work, like), pages(work, like)
    assert found.work == work
    assert (found.views.shape, found.views.dtype) == (random.views.shape, dtype)
    if random.crops is None:
        assert found.crops is None
    else:
        assert (found.crops.shape, found.crops.dtype) == (random.crops.shape, dtype)


def test_crops_go_row_by_row(saved):
    grid = WIDE.grid
    crops = page_pixels(saved(painted(grid, 640)), WIDE, LIKE).crops
    middles = levels(crops)[:, :2, 320, 320].int().tolist()
    assert middles == [[row, column] for row in range(grid.rows) for column in range(grid.columns)]


def test_a_page_of_the_canvas_size_is_cut_and_not_resampled(saved):
    page = noise(3 * 640, 2 * 640)
    crops = page_pixels(saved(page), WIDE, LIKE).crops
    last = page.crop((2 * 640, 640, 3 * 640, 2 * 640))
    assert bytes(levels(crops[5]).permute(1, 2, 0).byte().flatten().tolist()) == last.tobytes()


def test_crops_stretch_the_page_over_the_grid(saved):
    """The whole page, whatever its shape: no padding in crops."""
    crops = page_pixels(saved(Image.new("RGB", (50, 3000), "white")), WIDE, LIKE).crops
    assert (crops == 1).all()


@pytest.mark.parametrize(
    ("size", "inside"),
    [
        ((2000, 1000), (slice(256, 768), slice(0, 1024))),  # (rows, columns) of the page in its square
        ((1000, 2000), (slice(0, 1024), slice(256, 768))),
        ((1024, 1023), (slice(0, 1023), slice(0, 1024))),  # an odd margin has its pixel below
        ((100, 100), (slice(0, 1024), slice(0, 1024))),  # small pages grow
        ((30000, 5), (slice(511, 512), slice(0, 1024))),  # not less than a pixel
    ],
    ids=str,
)
def test_a_view_keeps_the_pages_shape_centred_on_grey(saved, size, inside):
    view = page_pixels(saved(Image.new("RGB", size, "white")), Workload(CropGrid(1, 1)), LIKE).views[0]
    within = torch.zeros(1024, 1024, dtype=torch.bool)
    within[inside] = True
    assert (view[:, within] == 1).all()
    assert view[:, ~within].unique().tolist() == pytest.approx([GREY] if size[0] != size[1] else [])


@pytest.mark.parametrize("resolution", ["tiny", "small"])
def test_small_modes_squeeze_the_page_instead(saved, resolution):
    work = Workload(CropGrid(1, 1), resolution=resolution)
    views = page_pixels(saved(Image.new("RGB", (2000, 1000), "white")), work, LIKE).views
    assert (views == 1).all()


@pytest.mark.parametrize("size", [(1500, 1100), (200, 130)], ids=["down", "up"])
def test_resizing_agrees_with_the_vendors_but_for_rounding(saved, size):
    """torchvision's resize of bytes is torch's own, with antialiasing."""
    page = noise(*size)
    crops = page_pixels(saved(page), WIDE, LIKE).crops
    source = (
        torch.frombuffer(bytearray(page.tobytes()), dtype=torch.uint8).reshape(size[1], size[0], 3).permute(2, 0, 1)
    )
    canvas = torch.nn.functional.interpolate(source[None], size=(1280, 1920), mode="bicubic", antialias=True)[0]
    vendors = torch.stack([canvas[:, r : r + 640, c : c + 640] for r in (0, 640) for c in (0, 640, 1280)])
    apart = (levels(crops) - vendors).abs()
    assert apart.max() <= 2  # of 255
    assert (apart > 0).float().mean() < 0.05


def test_values_run_from_minus_one_to_one(saved):
    found = page_pixels(saved(noise(300, 200)), WIDE, LIKE)
    for pixels in (found.views, found.crops):
        assert (pixels.min(), pixels.max()) == (-1, 1)


def test_every_page_of_the_batch_is_the_page(saved):
    work = Workload(CropGrid(1, 2), batch=3)
    found = page_pixels(saved(noise(90, 70)), work, LIKE)
    for pixels in (found.views, found.crops):
        first, *others = pixels.chunk(3)
        assert all(torch.equal(first, other) for other in others)


def test_exif_orientation_turns_the_page_upright(saved):
    """Orientation 6: what is stored on the left is shown on top."""
    page = Image.new("RGB", (1280, 640), "black")
    page.paste("white", (0, 0, 640, 640))
    exif = Image.Exif()
    exif[274] = 6
    crops = page_pixels(saved(page, exif=exif), Workload(CropGrid(2, 1)), LIKE).crops
    assert crops[:, :, 320, 320].tolist() == [[1, 1, 1], [-1, -1, -1]]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WebP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_orientation_gives_the_page_that_pillow_shows(tmp_path, kind, orientation):
    exif, path = Image.Exif(), tmp_path / "page"
    exif[274] = orientation
    painted(CropGrid(2, 3), 32).save(path, kind, exif=exif)
    with Image.open(path) as image:
        ImageOps.exif_transpose(image).convert("RGB").save(tmp_path / "upright.png")
    crops = [page_pixels(each, small(WIDE), LIKE).crops for each in (path, tmp_path / "upright.png")]
    assert torch.equal(*crops)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "CMYK"])
def test_any_mode_becomes_rgb(tmp_path, mode):
    path = tmp_path / ("page.jpg" if mode == "CMYK" else "page.png")
    Image.new("RGB", (64, 64), "white").convert(mode).save(path)
    views = page_pixels(path, Workload(CropGrid(1, 1), resolution="tiny"), LIKE).views
    assert views.min() > 0.98


def test_what_is_no_page_image_is_refused_in_the_words_for_its_size(tmp_path):
    path = tmp_path / "page.pdf"
    path.write_bytes(b"%PDF-1.7")
    with pytest.raises(ImageError, match=r"page\.pdf' is not a PNG, JPEG, TIFF or WebP image: convert it"):
        page_pixels(path, WIDE, LIKE)
    with pytest.raises(ImageError, match="does not exist"):
        page_pixels(tmp_path / "none.png", WIDE, LIKE)


def test_pixels_cut_off_are_refused(saved):
    path = saved(noise(300, 200))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ImageError, match=r"page\.png' has pixels that cannot be decoded \(.+\): save it again$"):
        page_pixels(path, WIDE, LIKE)
