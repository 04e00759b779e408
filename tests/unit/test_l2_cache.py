"""What reaches DRAM: the rule on tensors small enough to follow by hand, and beside a GPU's own counters."""

from pathlib import Path

import dram_table as dram
import pytest

from pytest_ocrsweep import CropGrid, Workload, load_model
from pytest_ocrsweep.model.kernels import Kernel, kernel, released, repeated
from pytest_ocrsweep.model.l2_cache import stage_traffic, traffic
from pytest_ocrsweep.model.symbolic import symbol
from pytest_ocrsweep.sweep.config import devices

COUNTED = Path(__file__).parents[2] / "baselines/deepseek-ocr/dram/nvidia-h200.json"


def moved(kernels: list[Kernel], l2_bytes: int, *, again: bool = False) -> list[tuple[int, int]]:
    def value(size: object) -> int:
        assert isinstance(size, int)
        return size

    return [(t.read_bytes, t.write_bytes) for t in traffic(kernels, value, l2_bytes, again=again)]


def test_what_was_just_written_is_read_from_the_l2():
    write, read = kernel("write", writes=40), kernel("read", reads=40, writes=10)
    assert moved([write, read], 50) == [(0, 40), (0, 10)]


@pytest.mark.parametrize(("l2_bytes", "from_dram"), [(100, 0), (99, 40)])
def test_it_is_gone_once_more_than_the_l2_was_touched_since(l2_bytes, from_dram):
    kernels = [kernel("write", writes=40), kernel("other", writes=60), kernel("read", reads=40)]
    assert moved(kernels, l2_bytes)[-1] == (from_dram, 0)


def test_a_tensor_larger_than_the_l2_is_never_found_there():
    assert moved([kernel("write", writes=40), kernel("read", reads=40)], 39) == [(0, 40), (40, 0)]


def test_parameters_and_inputs_come_from_dram_and_push_others_out():
    kernels = [kernel("write", writes=40), kernel("multiply", weights=70), kernel("read", reads=40)]
    assert moved(kernels, 100) == [(0, 40), (70, 0), (40, 0)]
    assert moved([kernel("pixels", reads=30)], 100) == [(30, 0)]


def test_a_part_of_a_larger_tensor_is_found_with_it():
    assert moved([kernel("qkv", writes=90), kernel("q", reads=30)], 100) == [(0, 90), (0, 0)]


def test_two_operands_of_one_size_are_two_tensors():
    kernels = [kernel("a", writes=40), kernel("b", writes=40), kernel("add", reads=(40, 40))]
    assert moved(kernels, 80)[-1] == (0, 0)
    assert moved(kernels, 79)[-1] == (40, 0), "only the later of them is still there"


def test_a_freed_tensor_is_nobodys_operand():
    kernels = [kernel("a", writes=40), kernel("b", writes=30), released(40), kernel("read", reads=40)]
    assert moved(kernels, 1000)[-1] == (40, 0)


def test_experts_gathered_twice_come_from_dram_once():
    gather = kernel("gather", weights=60, resident=640, used=20, writes=60)
    assert moved([gather], 1000) == [(20, 60)]


def test_a_repeated_layer_counts_every_run_and_only_its_first_finds_what_came_before():
    layer = [kernel("first", reads=30, frees=30), kernel("second", writes=30)]
    kernels = [kernel("input", writes=30), *repeated(layer, 5)]
    assert moved(kernels, 1000) == [(0, 30), (0, 0), (0, 150)]
    cold = [kernel("read", reads=(20, 30)), kernel("large", writes=90)]
    assert moved(list(repeated(cold, 4)), 100) == [(200, 0), (0, 360)], "the large one pushes both out each time"


def test_a_layer_that_keeps_its_table_in_the_l2_reads_it_once():
    assert moved(list(repeated([kernel("table", reads=25)], 2)), 100)[-1] == (25, 0)


def test_what_runs_once_runs_once_before_a_repeated_layer():
    """Its one tensor is one operand; the other comes from elsewhere, in the first run."""
    kernels = [kernel("write", writes=40), *repeated([kernel("add", reads=(40, 40))], 2)]
    assert moved(kernels, 1000) == [(0, 40), (40, 0)]


def test_parameters_that_another_view_owns_are_read_anew():
    assert moved([kernel("crops", weights=60, resident=0, used=0)], 1000) == [(60, 0)]


@pytest.mark.parametrize(("steps", "read"), [(1, 25 + 5), (2, 4 + 5), (3, 3 * (3 + 5) // 2)])
def test_steps_are_the_mean_of_the_first_and_the_last_after_one_that_warmed_the_l2(steps, read):
    step = [kernel("table", reads=25), kernel("keys", weights=symbol("keys"))]
    lines = stage_traffic(step, {"keys": 5}, steps, 1000)
    assert [line.path for line in lines] == ["table", "keys"]
    assert sum(line.read_bytes for line in lines) == read
    assert {type(number) for line in lines for number in line[1:]} == {int}


def test_again_starts_from_what_a_run_before_left():
    step = [kernel("table", reads=25)]
    assert moved(step, 100) == [(25, 0)]
    assert moved(step, 100, again=True) == [(0, 0)]


@pytest.mark.parametrize("stage", ["vision", "prefill", "decode"])
@pytest.mark.parametrize("attention", ["eager", "flash"])
def test_dram_lies_between_what_is_written_and_what_kernels_move(stage, attention):
    """However large the L2, writes and parameters pass it; without one, all that kernels move does."""
    ledger = load_model().ledger(stage, Workload(CropGrid(2, 3)), attention)
    h200 = devices()["h200"]
    cost, lines = ledger.total(), ledger.dram(h200)
    assert [line.path for line in lines] == [line.path for line in ledger.lines]
    assert sum(line.write_bytes for line in lines) == cost.write_bytes
    assert cost.write_bytes < ledger.dram_bytes(h200) < cost.moved_bytes


ROWS = list(dram.compared(COUNTED))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.point)
def test_dram_bytes_lie_within_a_fifth_of_the_gpus_own_counters(row):
    assert abs(row.difference) < 0.2


def test_four_grids_of_each_stage_and_attention_were_counted():
    assert len(ROWS) == len({row.point for row in ROWS}) == 4 * 3 * 2


def test_kernel_by_kernel_bytes_alone_would_not_have_passed():
    """The rule says something: without it some points lie further off than it may."""
    assert max(row.kernel_bytes / sum(row.counted) - 1 for row in ROWS) > 0.2


@pytest.mark.parametrize("text", ["", "[]", "{", '{"gpu": "NVIDIA H200", "workload": {}, "points": [{}]}', "\udcff"])
def test_a_damaged_file_of_counts_is_one_line(tmp_path, text):
    path = tmp_path / "counts.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(dram.DramError, match=r"counts\.json: no DRAM counts") as error:
        list(dram.compared(path))
    assert "\n" not in str(error.value)
