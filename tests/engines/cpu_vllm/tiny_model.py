"""The folder of a tiny model with DeepSeek-OCR's structure, without weights; run by an interpreter with `tokenizers`.

`python tiny_model.py FOLDER`. Its decoder has one dense and one MoE layer; its vision tower is that of small_tower.py.
"""

import json
import sys
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

BEGIN, END, PAD, IMAGE = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>", "<image>"
VOCABULARY = 512
POSITIONS = 4096
DECODER = {
    "vocab_size": VOCABULARY, "max_position_embeddings": POSITIONS, "num_hidden_layers": 2, "hidden_size": 256,
    "num_attention_heads": 2, "num_key_value_heads": 2, "use_mla": False, "kv_lora_rank": None, "q_lora_rank": None,
    "qk_nope_head_dim": 0, "qk_rope_head_dim": 0, "v_head_dim": 0, "first_k_dense_replace": 1, "intermediate_size": 512,
    "moe_intermediate_size": 64, "n_routed_experts": 8, "num_experts_per_tok": 2, "n_shared_experts": 2, "n_group": 1,
    "topk_group": 1, "topk_method": "greedy", "lm_head": True, "rm_head": False, "torch_dtype": "bfloat16",
    "bos_token_id": 0, "eos_token_id": 1,
}  # fmt: skip
TOWER = 128  # SAM's 64 and CLIP's 64 numbers for each query
CONFIG = {
    **DECODER,
    "architectures": ["DeepseekOCRForCausalLM"],
    "model_type": "deepseek_vl_v2",
    "candidate_resolutions": [[1024, 1024]],
    "global_view_pos": "head",
    "tile_tag": "2D",
    "language_config": {"architectures": ["DeepseekV2ForCausalLM"], **DECODER},
    "projector_config": {
        "model_type": "mlp_projector", "projector_type": "linear",
        "input_dim": TOWER, "n_embed": DECODER["hidden_size"],
    },
    "vision_config": {"model_type": "vision", "model_name": "deeplip_b_l", "image_size": 1024, "mlp_ratio": 3.7362},
}  # fmt: skip
TOKENIZER = {
    "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": BEGIN, "eos_token": END, "pad_token": PAD,
    "model_max_length": POSITIONS, "clean_up_tokenization_spaces": False,
}  # fmt: skip


def tokenizer():
    """A token for each byte, words that no text contains, and the image's placeholder as the last."""
    names = [BEGIN, END, PAD, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    names += [*(f"w{number}" for number in range(len(names), VOCABULARY - 1)), IMAGE]
    made = Tokenizer(models.BPE(vocab={name: number for number, name in enumerate(names)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in (BEGIN, END, PAD)])
    made.add_tokens([AddedToken(IMAGE, special=False, normalized=False)])
    return made


def write(folder):
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "config": CONFIG,
        "generation_config": {"bos_token_id": 0, "eos_token_id": 1},
        "tokenizer_config": TOKENIZER,
    }
    for name, content in texts.items():
        (folder / f"{name}.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    tokenizer().save(str(folder / "tokenizer.json"))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
