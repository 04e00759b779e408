"""Precisions: bytes of weights are those of formats and of public files, and nothing but bytes of weights changes."""

from __future__ import annotations

import gguf
import mlx_snapshot
import numpy as np
import pytest

from pytest_ocrsweep import CropGrid, Model, Workload, load_model
from pytest_ocrsweep.errors import ConfigError
from pytest_ocrsweep.hardware.estimate_columns import estimates
from pytest_ocrsweep.model.cost import Cost
from pytest_ocrsweep.model.kernels import HALF, together
from pytest_ocrsweep.model.parameters import Parameter
from pytest_ocrsweep.model.precision import FORMATS, more_bits
from pytest_ocrsweep.model.stages import STAGES
from pytest_ocrsweep.sweep.config import compose, devices
from pytest_ocrsweep.sweep.search_path import CONF

NAMES = sorted(file.stem for file in (CONF / "precision").glob("*.yaml"))
W8A8 = "fp8-w8a8"  # the one that changes more than bytes of weights: test_fp8_products.py
WIDENED = [name for name in NAMES if name != W8A8]
WORK = Workload("2x3", batch=3)
PATCH_EMBEDDING = 602_112  # parameters of CLIP that are in every file, and that no stage loads


def model(precision: str, *more: str, engine: str = "transformers") -> Model:
    return load_model(engine=engine, overrides=[f"precision={precision}", *more])


@pytest.mark.parametrize("engine", ["transformers", "vllm"])
@pytest.mark.parametrize("resolution", ["gundam", "gundam-m", "tiny", "large"])
@pytest.mark.parametrize("stage", STAGES)
def test_every_kernel_names_the_parameters_that_it_reads(stage: str, resolution: str, engine: str) -> None:
    ours = load_model(engine=engine)
    for attention in ours.engine.attentions:
        for crops in (False, True) if "gundam" in resolution else (False,):
            for k in ours.program(stage, resolution, crops, attention).sequence:
                named = sum(each.elements for each in k.parameters) * HALF
                assert k.weight_bytes in (0, named), k.path
                assert (k.read_bytes == together(k.operands)) == (not k.parameters or k.path == "embed"), k.path


@pytest.mark.parametrize("name", ["Q8_0", "Q5_0", "Q4_K", "Q6_K"])
def test_blocks_are_those_of_llama_cpp(name: str) -> None:
    elements, size = gguf.GGML_QUANT_SIZES[getattr(gguf.GGMLQuantizationType, name)]
    assert FORMATS[name.lower()].stored_bytes(Parameter("matrix", 7, 3 * elements)) == 7 * 3 * size


def test_a_quantised_matrix_has_as_many_bytes_as_llama_cpps() -> None:
    weights = np.random.default_rng(0).normal(size=(7, 96)).astype(np.float32)
    found = gguf.quants.quantize(weights, gguf.GGMLQuantizationType.Q8_0)
    assert FORMATS["q8_0"].stored_bytes(Parameter("matrix", 7, 96)) == found.nbytes


def test_gptq_stores_packed_weights_zeros_scales_and_the_group_of_each_input() -> None:
    out, width, groups = 16, 300, 3  # the last group is cut
    tensors = {
        "qweight": (width // 8 * out + width % 8 * out // 8, 4),  # eight 4-bit elements a word
        "qzeros": (groups * out // 8, 4),
        "scales": (groups * out, 2),
        "g_idx": (width, 4),
    }
    assert FORMATS["gptq4"].stored_bytes(Parameter("matrix", out, width)) == sum(
        n * size for n, size in tensors.values()
    )


@pytest.mark.parametrize(("name", "unused"), [("deepseek-ocr", PATCH_EMBEDDING), ("deepseek-ocr-2", 0)])
def test_the_weights_of_a_public_mlx_snapshot_are_counted_to_the_byte(name: str, unused: int) -> None:
    """The hub lists the bytes of its index, which names every tensor, and of its file."""
    file_bytes, index_bytes = mlx_snapshot.FILES[name]
    assert mlx_snapshot.index_bytes(name) == index_bytes
    found, data = list(mlx_snapshot.tensors(name)), mlx_snapshot.data_bytes(name)
    headers = {mlx_snapshot.header_bytes(order) for order in (found, sorted(found), sorted(found, reverse=True))}
    assert min(headers) <= file_bytes - data <= max(headers)
    ours = load_model(name, ["precision=mlx-8bit"]).ledger("prefill", WORK).weight_bytes
    assert ours + unused * HALF == data


# Bytes of public files, as the hub lists them. A file is its metadata, which these have alike, and its tensors.
DECODERS = {"f16": 5_876_578_112, "q8_0": 3_126_139_712}  # deepseek-ocr-bf16.gguf, DeepSeek-OCR-Q8_0.gguf
DECODER_2 = 1_950_326_688  # deepseek-ocr-2-Q4_K_M.gguf, whose decoder is the same; its metadata has longer names
VISION_2 = 512_537_792  # mmproj-deepseek-ocr-2-q8_0.gguf
VISION_BF16, VISION_Q8_0 = 826_425_472, 447_856_768  # mmproj-deepseek-ocr-bf16.gguf, mmproj-DeepSeek-OCR-Q8_0.gguf


def test_the_decoders_of_public_gguf_files_leave_the_same_metadata() -> None:
    left = {name: size - model(name).ledger("decode", WORK).weight_bytes for name, size in DECODERS.items()}
    assert set(left.values()) == {5_243_712}
    assert DECODER_2 - model("q4_k_m").ledger("decode", WORK).weight_bytes == 5_243_712 + 96


def test_the_vision_of_public_gguf_files_leaves_the_same_metadata() -> None:
    """Of a bf16 file, with the patches' convolution in float32, and of a Q8_0 file that an older converter made."""
    patches = "'sam/patch_embed:convolution f32'"
    bf16 = [f"'{rule}'" for rule in model("f16").precision.weights]
    older = [f"'{rule}'" for rule in model("q8_0").precision.weights]
    older = [rule.replace("f32", "half") if "neck" in rule or "downsample" in rule else rule for rule in older]
    norms = "'sam/neck/norm*:vector f32'"
    files = [(VISION_BF16, "f16", [patches, *bf16]), (VISION_Q8_0, "q8_0", [norms, *older])]
    left = []
    for size, name, rules in files:
        ours = (
            model(name, "precision.name=theirs", f"precision.weights=[{','.join(rules)}]")
            .ledger("vision", WORK)
            .weight_bytes
        )
        left.append(size - ours - PATCH_EMBEDDING * 4)
    assert left == [28_800, 28_800]
    second = load_model("deepseek-ocr-2", ["precision=q8_0"]).ledger("vision", WORK).weight_bytes
    assert VISION_2 - second == 29_504  # its names are others


def test_more_bits_go_to_the_layers_that_llama_cpp_gives_them() -> None:
    assert [layer for layer in range(12) if more_bits(layer, 12)] == [0, 3, 6, 9, 10, 11]


def test_a_row_that_is_no_whole_block_falls_back_as_in_llama_cpp() -> None:
    """896 and 6848 are no multiples of 256: their down projections have 5 or 8 bits."""
    q4 = compose(["precision=q4_k_m"]).precision
    path, kind = "decoder/experts/down", "experts"
    assert [q4.format_of(path, kind, width, more) for width in (896, 1792) for more in (False, True)] == [
        FORMATS[name] for name in ("q5_0", "q8_0", "q4_k", "q6_k")
    ]
    assert q4.format_of("sam/x", "matrix", 100, False) == FORMATS["half"]


@pytest.mark.parametrize("precision", WIDENED)
@pytest.mark.parametrize("stage", STAGES)
def test_only_bytes_of_weights_change(stage: str, precision: str) -> None:
    """FLOPs, writes, activations, the cache and its peak stay; each read falls by what the weights do."""
    assert not model(precision).precision.fp8_products
    native, other = model("native").ledger(stage, WORK), model(precision).ledger(stage, WORK)
    before, after = native.total(), other.total()
    assert (after.tensor_flops, after.vector_flops, after.write_bytes) == (
        before.tensor_flops,
        before.vector_flops,
        before.write_bytes,
    )
    assert (other.peak_activation_bytes, other.peak_path) == (native.peak_activation_bytes, native.peak_path)
    assert other.kv_cache_bytes == native.kv_cache_bytes
    lines = [sum((line.cost for line in each.lines), Cost()) for each in (native, other)]
    assert lines == [before, after]
    assert sum(line.weight_bytes for line in other.lines) == other.weight_bytes
    assert sum(line.times for line in other.lines) == sum(line.times for line in native.lines)


def test_weights_of_half_the_bytes_are_read_once_as_half() -> None:
    """Of a decode step, whose linear layers read every weight once."""
    lines = {name: model(name).ledger("decode", Workload("1x1", new_tokens=1)) for name in ("native", "fp8")}
    native, fp8 = (each.total("decoder/attn/q_proj").read_bytes for each in lines.values())
    assert native - fp8 == 12 * (1280 * 1280 - 4)  # but for a scale a layer


@pytest.mark.parametrize("precision", NAMES)
@pytest.mark.parametrize("stage", STAGES)
def test_columns_are_the_ledgers_of_a_precision_too(stage: str, precision: str) -> None:
    ours, grids = model(precision, engine="vllm" if precision == W8A8 else "transformers"), CropGrid.upto(4)
    columns = ours.sweep(stage, rows=[g.rows for g in grids], cols=[g.columns for g in grids], batch=[2] * len(grids))
    times = estimates(ours, columns, devices()["h200"])
    for i, grid in enumerate(grids):
        ledger = ours.ledger(stage, Workload(grid, batch=2))
        total, expected = ledger.total(), ledger.estimate("h200")
        assert (columns["read_bytes"][i], columns["weight_bytes"][i]) == (total.read_bytes, ledger.weight_bytes)
        assert (times.time_ns[i], times.low_ns[i], times.high_ns[i]) == (
            expected.time_ns,
            expected.low_ns,
            expected.high_ns,
        )


def test_an_estimate_says_that_nobody_measured_such_kernels() -> None:
    expected = model("q8_0").ledger("decode", WORK).estimate("h200")
    assert "no kernel that widens q8_0 weights was calibrated" in expected.reasons
    assert expected.high_ns > 1.9 * expected.time_ns


def test_dram_traffic_of_other_weights_is_not_known() -> None:
    with pytest.raises(ValueError, match="DRAM traffic is known for native weights alone, not for q8_0"):
        model("q8_0").ledger("decode", WORK).dram_bytes("h200")


def test_a_cache_in_eight_bits_is_half_as_large_and_read_as_such() -> None:
    half, eight = (model("native", f"engine.kv_dtype={kind}", engine="vllm") for kind in ("half", "fp8"))
    for stage in ("prefill", "decode"):
        before, after = half.ledger(stage, WORK), eight.ledger(stage, WORK)
        assert after.kv_cache_bytes * 2 == before.kv_cache_bytes
        assert after.total("decoder/mlp") == before.total("decoder/mlp")
        assert after.floor("h200").time_ns <= before.floor("h200").time_ns
    one = Workload("1x1", new_tokens=1)
    reads = [each.ledger("decode", one).total("decoder/attn/fused").read_bytes for each in (half, eight)]
    assert reads[0] - reads[1] == 12 * 2 * (one.context_tokens + 1) * 1280


def test_a_precision_has_a_folder_of_its_own() -> None:
    assert model("q8_0").recorded_as == "deepseek-ocr/q8_0"
    assert model("fp8", engine="vllm").recorded_as == "deepseek-ocr/vllm/fp8"
    assert model("fp8", engine="vllm").title == "deepseek-ocr on vllm in fp8"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["precision=q4km"], "precision must be one of .*; did you mean 'q4_k_m'"),
        (["precision=q8_0", "engine=vllm"], "vllm cannot run this model in q8_0: its precisions are native, fp8"),
        (["precision.name=mine", "precision.weights=[a]"], "precision.weights: 'a': it must be PATTERN FORMAT"),
        (
            ["precision.name=mine", "precision.weights=['* q9']"],
            "precision.weights: '\\* q9': a format is one of half, f32",
        ),
        (
            ["precision.name=mine", "precision.weights=['*:matrx half']"],
            "precision.weights: '\\*:matrx half': a kind is one of matrix",
        ),
        (
            ["precision.name=mine", "precision.weights=['embed half']"],
            "precision.weights must end with a rule for the rest, as '\\* half'",
        ),
        (["precision.weights=['* f32']"], "native has rules of its own; give them another name: precision.name=mine"),
        (["precision=q8_0", "precision.name=f16"], "f16 has rules of its own; give them another name"),
        (["precision=q8_0", "precision.name=vllm"], "and none of timed, own, serving, dram, vllm"),
        (["precision=q8_0", "precision.name=../x"], "precision.name is a folder of its baselines"),
        (["precision.products=int8", "precision.name=x"], "precision.products must be one of half, fp8, got 'int8'"),
        (["precision=fp8", "precision.products=fp8"], "fp8 has rules of its own; give them another name"),
        (["precision=fp8-w8a8"], "transformers is not counted with products of 8-bit floats, .*: use engine=vllm"),
        (["precision=fp8-w8a8", "engine=original"], "original is not counted with products of 8-bit floats"),
        (
            ["precision=fp8-w8a8", "engine=vllm", "engine.fused_norms=false"],
            "vllm is not counted with products of 8-bit floats",
        ),
        (
            ["precision=fp8-w8a8", "engine=vllm", "device=a100-80"],
            "A100-SXM4-80GB multiplies no 8-bit floats .*: use precision=fp8, whose products run in two bytes",
        ),
        (["engine.kv_dtype=fp8"], "engine.kv_dtype 'fp8' is for an engine whose cache lies in blocks"),
        (["engine=vllm", "engine.kv_dtype=fp4"], "engine.kv_dtype must be one of half, fp8, got 'fp4'"),
    ],
)
def test_what_does_not_fit_is_one_line(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose(overrides)


def test_parts_of_a_byte_that_rows_share_are_whole_bytes() -> None:
    """A scale a tensor, of which each row of an embedding that is looked up has a part."""
    ours = model("native", "precision.name=all", "precision.weights=['* fp8']")
    native = model("native").ledger("prefill", WORK)
    assert native.weight_bytes / 2 < ours.ledger("prefill", WORK).weight_bytes < 0.51 * native.weight_bytes
    assert ours.recorded_as == "deepseek-ocr/all"


def test_a_cache_in_eight_bits_has_baselines_of_its_own() -> None:
    assert model("native", "engine.kv_dtype=fp8", engine="vllm").recorded_as == "deepseek-ocr/vllm-kv-fp8"
