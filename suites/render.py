"""The CPU time that rendering a page costs the host: its file decoded, cut into views, and normalised.

`pytest suites/` leaves it out, as it is of a CPU and not of a GPU: name it, `pytest suites/render.py`.
"""

import pytest


@pytest.fixture(autouse=True)
def one_thread():
    """A thread that waits for others would take CPU time too."""
    torch = pytest.importorskip("torch", reason="rendering needs the reference model's packages: the extra [vendor]")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_render(ocrsweep, ocrsweep_model, grid, tmp_path):
    import torch

    from pytest_ocrsweep.engines.page_images import png
    from pytest_ocrsweep.sweep.engine_meter import page_of
    from pytest_ocrsweep.vendor_model.pixels import page_pixels

    work = ocrsweep.workload(grid)
    page = tmp_path / "page.png"
    page.write_bytes(png(*page_of(work)))
    like, model = torch.empty(0, dtype=torch.bfloat16), ocrsweep_model.architecture
    ocrsweep.time(f"render-{grid}", lambda: page_pixels(page, work, like, model), host=True)
