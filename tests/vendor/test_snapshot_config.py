"""Every key of a snapshot's config.json is right, without effect, or refused by its name and level."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("torch", reason="the reference model needs the extra [vendor]")
pytest.importorskip("transformers", reason="the reference model needs the extra [vendor]")

from transformers.models.deepseek_v2.configuration_deepseek_v2 import DeepseekV2Config
from transformers.models.unlimited_ocr.configuration_unlimited_ocr import UnlimitedOcrTextConfig

from pytest_ocrsweep import load_model
from pytest_ocrsweep.errors import CheckpointError
from pytest_ocrsweep.model.architecture import Architecture
from pytest_ocrsweep.vendor_model import snapshot_config
from pytest_ocrsweep.vendor_model.snapshot_ignored import WITHOUT_EFFECT
from pytest_ocrsweep.vendor_model.snapshot_keys import CONFIG, Level

MODEL = load_model("deepseek-ocr").architecture
PUBLISHED = json.loads((Path(__file__).parents[1] / "support" / "deepseek_ocr_config.json").read_text())
SAM, CLIP = "vision_config.width.sam_vit_b", "vision_config.width.clip-l-14-224"
FULL, WINDOW = "full_attention", "reference_sliding_attention"

# One change that makes another model of DeepSeek-OCR, and the values that are asked for.
OTHERS: list[tuple[str, Any, str]] = [
    ("model_type", "unlimited-ocr", "'deepseek_vl_v2' or 'DeepseekOCR'"),
    ("model_type", "unlimited_ocr", "'deepseek_vl_v2' or 'DeepseekOCR'"),
    ("architectures", ["UnlimitedOCRForCausalLM"], "['DeepseekOCRForCausalLM']"),
    ("architectures", ["DeepseekOCR2ForCausalLM"], "['DeepseekOCRForCausalLM']"),
    ("architectures", ["DeepseekVLV2ForCausalLM"], "['DeepseekOCRForCausalLM']"),
    ("language_config.architectures", ["LlamaForCausalLM"], "['DeepseekV2ForCausalLM'] or ['DeepseekOCRForCausalLM']"),
    ("language_config.model_type", "deepseek_v3", "'deepseek_v2'"),
    ("vision_config.model_name", "deepencoderv2", "'deeplip_b_l'"),
    ("vision_config.model_type", "siglip", "'vision'"),
    ("vision_config.mlp_ratio", 4, "3.7362"),
    ("vision_config.image_size", 768, "1024 as sam.image_side of deepseek-ocr"),
    (f"{SAM}.downsample_channels", [512, 896], "[512, 1024] as sam.downsample_widths of deepseek-ocr"),
    (f"{SAM}.global_attn_indexes", [2, 5, 8], "[2, 5, 8, 11] as sam.global_layers of deepseek-ocr"),
    (f"{SAM}.heads", 16, "12 as sam.heads of deepseek-ocr"),
    (f"{SAM}.window_size", 7, "14 as sam.window of deepseek-ocr"),
    (f"{SAM}.mlp_ratio", 3.7362, "4.0"),
    (f"{CLIP}.heads", 8, "16 as clip.heads of deepseek-ocr"),
    (f"{CLIP}.patch_size", 16, "14 as clip.patch of deepseek-ocr"),
    (f"{CLIP}.image_size", 336, "224 as clip.image_side of deepseek-ocr"),
    ("projector_config.projector_type", "downsample_mlp_gelu", "'linear'"),
    ("projector_config.input_dim", 896, "2048"),
    ("projector_config.n_embed", 1024, "1280 as decoder.width of deepseek-ocr"),
    ("candidate_resolutions", [[768, 768]], "[[1024, 1024]]"),
    ("tile_tag", "1D", "'2D'"),
    ("global_view_pos", "tail", "'head'"),
]
# Each of these at both levels that have the decoder's keys: what one program reads, another does not.
OTHERS += [
    (f"{level}{key}", value, values)
    for level in ("", "language_config.")
    for key, value, values in [
        ("sliding_window", 128, "null as decoder.window of deepseek-ocr"),
        ("sliding_window_size", 128, "null as decoder.window of deepseek-ocr"),
        ("use_sliding_window", True, "false"),
        ("layer_types", [WINDOW] * 12, f"[{', '.join([repr(FULL)] * 6)}, ...]"),
        ("layer_types", [FULL] * 11 + [WINDOW], f"[{', '.join([repr(FULL)] * 6)}, ...]"),
        ("use_mla", True, "false"),
        ("kv_lora_rank", 512, "null"),
        ("q_lora_rank", 1536, "null"),
        ("qk_nope_head_dim", 128, "0 or null"),
        ("qk_rope_head_dim", 64, "0 or null"),
        ("v_head_dim", 64, "0 or null or 128"),
        ("head_dim", 64, "128"),
        ("n_group", 2, "1 or null"),
        ("topk_group", 2, "1 or null"),
        ("topk_method", "group_limited_greedy", "'greedy' or 'gready'"),
        ("scoring_func", "sigmoid", "'softmax'"),
        ("norm_topk_prob", True, "false"),
        ("routed_scaling_factor", 16.0, "1"),
        ("moe_layer_freq", 2, "1"),
        ("first_k_dense_replace", 0, "1 as decoder.dense_layers of deepseek-ocr"),
        ("n_routed_experts", 72, "64 as decoder.experts of deepseek-ocr"),
        ("num_key_value_heads", 2, "10 as decoder.kv_heads of deepseek-ocr"),
        ("hidden_size", 2048, "1280 as decoder.width of deepseek-ocr"),
        ("max_position_embeddings", 32768, "8192 as decoder.max_positions of deepseek-ocr"),
        ("rope_theta", 1000000, "10000"),
        ("rope_scaling", {"type": "yarn", "factor": 4}, "null"),
        ("rope_parameters", {"rope_type": "default", "rope_theta": 1e6}, "null or"),
        ("attention_bias", True, "false"),
        ("mlp_bias", True, "false"),
        ("tie_word_embeddings", True, "false"),
        ("hidden_act", "gelu", "'silu'"),
        ("rms_norm_eps", 1e-5, "1e-06"),
        ("torch_dtype", "float8_e4m3fn", "'bfloat16' or 'float16' or 'float32'"),
        ("dtype", "int8", "'bfloat16' or 'float16' or 'float32'"),
        ("quantization_config", {"quant_method": "gptq", "bits": 4}, "null"),
        ("lm_head", False, "true"),
        ("lm_head", 1, "true"),
        ("n_group", True, "1 or null"),
        ("use_cache", False, "true"),
    ]
]


def blocks(config: dict[str, Any], level: Level, name: str = "") -> Iterator[tuple[str, dict[str, Any], Level]]:
    yield name, config, level
    for key, lower in level.below.items():
        yield from blocks(config[key], lower, f"{name}{key}.")


LEVELS = {name: level for name, _, level in blocks(PUBLISHED, CONFIG)}
KEYS = [(name, key) for name, level in LEVELS.items() for key in level.keys]


def changed(path: str, value: object) -> dict[str, Any]:
    """The published configuration with one value set."""
    config = copy.deepcopy(PUBLISHED)
    *above, key = path.split(".")
    at = config
    for name in above:
        at = at[name]
    at[key] = value
    return config


@pytest.fixture
def refusal(tmp_path):
    return partial(refused, tmp_path / "config.json")


def refused(path: Path, config: dict[str, Any], model: Architecture = MODEL) -> list[str]:
    """The lines of the refusal, without the file's name; none if the configuration is accepted."""
    path.write_text(json.dumps(config))
    try:
        snapshot_config.check(path, model)
    except CheckpointError as error:
        return [line.removeprefix(f"{path}: ") for line in str(error).splitlines()]
    return []


def test_the_published_configuration_is_accepted(refusal):
    assert refusal(PUBLISHED) == []


@pytest.mark.parametrize(("path", "value", "values"), OTHERS, ids=lambda part: str(part)[:40])
def test_another_model_is_refused_by_key_level_and_values(refusal, path, value, values):
    (line,) = refusal(changed(path, value))
    assert line.startswith(f"{path} is ")
    assert f", should be {values}" in line
    assert ": choose the model of" in line or ", choose a snapshot of DeepSeek-OCR" in line


def unlimited() -> dict[str, Any]:
    """Unlimited-OCR's configuration as published: what differs from DeepSeek-OCR's."""
    config = changed("model_type", "unlimited-ocr") | {
        "architectures": ["UnlimitedOCRForCausalLM"], "sliding_window": 128,
    }  # fmt: skip
    config["language_config"]["architectures"] = ["DeepseekOCRForCausalLM"]
    for block in (config, config["language_config"]):
        block |= {"max_position_embeddings": 32768, "v_head_dim": 128, "sliding_window_size": 128}
    return config


def test_unlimited_ocr_is_refused_by_everything_that_it_does_otherwise(refusal):
    assert [line.split(" is ")[0] for line in refusal(unlimited())] == [
        "architectures",
        "model_type",
        "max_position_embeddings",
        "sliding_window",
        "sliding_window_size",
        "language_config.max_position_embeddings",
        "language_config.sliding_window_size",
    ]


def test_unlimited_ocr_is_accepted_under_its_own_name_and_deepseek_ocr_refused(tmp_path):
    path, model = tmp_path / "config.json", load_model("unlimited-ocr").architecture
    assert refused(path, unlimited(), model) == []
    lines = refused(path, PUBLISHED, model)
    assert [line.split(" is ")[0] for line in lines] == [
        "architectures",
        "model_type",
        "max_position_embeddings",
        "sliding_window",
        "language_config.max_position_embeddings",
    ]
    assert lines[3] == (
        "sliding_window is missing, should be 128 as decoder.window of unlimited-ocr: "
        "choose the model of this snapshot, or the snapshot of this model"
    )
    assert lines[0].endswith("choose a snapshot of Unlimited-OCR")


def ocr2() -> dict[str, Any]:
    """DeepSeek-OCR-2's configuration as published: what differs from DeepSeek-OCR's."""
    config = changed("architectures", ["DeepseekOCR2ForCausalLM"])
    config["auto_map"]["AutoModel"] = "modeling_deepseekocr2.DeepseekOCR2ForCausalLM"
    config["vision_config"]["model_name"] = "deepencoderv2"
    width = config["vision_config"]["width"]
    del width["clip-l-14-224"]
    width["qwen2-0-5b"] = {"dim": 896}
    config["projector_config"]["input_dim"] = 896
    return config


def test_deepseek_ocr_2_is_accepted_under_its_own_name_and_deepseek_ocr_refused(tmp_path):
    path, model = tmp_path / "config.json", load_model("deepseek-ocr-2").architecture
    assert refused(path, ocr2(), model) == []
    lines = refused(path, PUBLISHED, model)
    assert [line.split(" is ")[0] for line in lines] == [
        "architectures",
        "vision_config.model_name",
        "vision_config.width.qwen2-0-5b",
        "projector_config.input_dim",
        "vision_config.width.clip-l-14-224",
    ]
    assert lines[0] == (
        "architectures is ['DeepseekOCRForCausalLM'], should be ['DeepseekOCR2ForCausalLM']: nothing else is "
        "implemented for deepseek-ocr-2, choose a snapshot of DeepSeek-OCR-2"
    )
    assert lines[2].endswith("should be an object: choose a snapshot of DeepSeek-OCR-2 in its original layout")


def test_deepseek_ocr_2_is_refused_by_everything_that_it_does_otherwise(refusal):
    assert [line.split(" is ")[0] for line in refusal(ocr2())] == [
        "architectures",
        "vision_config.model_name",
        "vision_config.width.clip-l-14-224",
        "projector_config.input_dim",
        "vision_config.width.qwen2-0-5b",
    ]


def test_unlimited_ocr_and_deepseek_ocr_2_refuse_each_other(tmp_path):
    path = tmp_path / "config.json"
    for name, config in (("unlimited-ocr", ocr2()), ("deepseek-ocr-2", unlimited())):
        lines = refused(path, config, load_model(name).architecture)
        assert lines[0].startswith("architectures is ")
        assert any("vision_config.model_name is " in line for line in lines)


@pytest.mark.parametrize(
    ("value", "accepted"), [([512, 1024], True), ([512, 896], True), ([512, 768], False), ([896], False)]
)
def test_the_widths_of_convolutions_are_the_tensors_or_those_that_the_published_file_has(tmp_path, value, accepted):
    """DeepSeek-OCR-2's code does not read them."""
    config = ocr2()
    config["vision_config"]["width"]["sam_vit_b"]["downsample_channels"] = value
    lines = refused(tmp_path / "config.json", config, load_model("deepseek-ocr-2").architecture)
    assert (lines == []) is accepted


@pytest.mark.parametrize("key", ["sliding_window", "sliding_window_size", "language_config.sliding_window_size"])
def test_another_window_is_refused_wherever_it_stands(tmp_path, key):
    config = unlimited()
    *above, last = key.split(".")
    (config[above[0]] if above else config)[last] = 256
    model = load_model("unlimited-ocr").architecture
    (line,) = refused(tmp_path / "config.json", config, model)
    assert line.startswith(f"{key} is 256, should be 128 as decoder.window of unlimited-ocr")


def test_the_layout_of_transformers_is_named(refusal):
    config = {"text_config" if key == "language_config" else key: value for key, value in PUBLISHED.items()}
    first, second = refusal(config)
    assert first == (
        "language_config is missing, should be an object: choose a snapshot of DeepSeek-OCR in its original layout"
    )
    assert second.startswith("text_config is {'architectures': ['DeepseekV2ForCausalLM'],")


@pytest.mark.parametrize(("name", "key"), KEYS, ids="".join)
def test_a_key_with_each_of_its_values_is_accepted(refusal, name, key):
    for value in LEVELS[name].keys[key].values(MODEL):
        assert refusal(changed(f"{name}{key}", value)) == []


@pytest.mark.parametrize("key", sorted(WITHOUT_EFFECT))
def test_a_key_without_effect_may_hold_anything_at_any_level(refusal, key):
    for name in LEVELS:
        assert refusal(changed(f"{name}{key}", {"any": ["thing"]})) == []


@pytest.mark.parametrize("name", [name for name, level in LEVELS.items() if name])
def test_a_level_that_is_no_object_is_refused(refusal, name):
    path = name.rstrip(".")
    assert refusal(changed(path, [1])) == [
        f"{path} is [1], should be an object: choose a snapshot of DeepSeek-OCR in its original layout"
    ]


@pytest.mark.parametrize("key", ["architectures", "model_type"])
def test_a_model_that_does_not_say_which_it_is_is_refused(refusal, key):
    (line,) = refusal({name: value for name, value in PUBLISHED.items() if name != key})
    assert line.startswith(f"{key} is missing, should be ")


def test_an_unknown_key_is_refused_with_what_to_do(refusal):
    assert refusal(changed("language_config.attention_sinks", 4)) == [
        "language_config.attention_sinks is 4, and it is not known whether this key changes what is computed: "
        "choose a snapshot of DeepSeek-OCR, or delete the key if it changes nothing"
    ]


def test_a_thousand_unknown_keys_stay_a_few_lines(refusal):
    *lines, more = refusal(PUBLISHED | {f"key_{number}": 0 for number in range(1000)})
    assert [line.split(" is ")[0] for line in lines] == [f"key_{number}" for number in range(5)]
    assert more == "... and 995 more keys like this one"


@pytest.mark.parametrize("config", [UnlimitedOcrTextConfig, DeepseekV2Config], ids=lambda config: config.__name__)
def test_every_key_that_transformers_has_for_the_decoder_is_in_a_list(config):
    known = LEVELS["language_config."].keys.keys() | WITHOUT_EFFECT
    plans = {"base_model_tp_plan", "base_model_ep_plan", "base_model_pp_plan"}  # of parallel devices; in no file
    assert {each.name for each in fields(config) if each.name in config.__annotations__} - known - plans == set()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
fast = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@fast
@given(where=st.sampled_from(KEYS), value=JSON)
def test_any_other_value_of_a_key_that_counts_is_refused(refusal, where, value):
    name, key = where
    rule = LEVELS[name].keys[key]
    allowed = json.loads(json.dumps(rule.values(MODEL)))
    lines = refusal(changed(f"{name}{key}", value))
    if any(value == each and isinstance(value, bool) == isinstance(each, bool) for each in allowed):
        assert lines == []
    else:
        (line,) = lines
        assert line.startswith(f"{name}{key} is ")


@fast
@given(name=st.sampled_from(sorted(LEVELS)), key=st.text(max_size=20), value=JSON)
def test_any_unknown_key_is_refused_at_any_level(refusal, name, key, value):
    level = LEVELS[name]
    if key in level.keys.keys() | level.below.keys() | WITHOUT_EFFECT or "." in key:
        return
    (line,) = refusal(changed(f"{name}{key}", value))
    assert line.startswith(name)
    assert ", and it is not known whether this key changes what is computed: " in line
    assert line.isprintable()
