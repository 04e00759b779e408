"""The keys of a snapshot's config.json that change nothing in a forward pass at inference, at any level."""

from __future__ import annotations

# fmt: off
WITHOUT_EFFECT = frozenset({
    # names, and code that nobody here runs
    "_name_or_path", "_commit_hash", "auto_map", "transformers_version", "tokenizer_class", "finetuning_task",
    "task_specific_params", "problem_type", "id2label", "label2id", "unsloth_fixed", "unsloth_version",
    # token ids
    "bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "decoder_start_token_id", "forced_bos_token_id",
    "forced_eos_token_id", "image_token_id", "image_token_index", "video_token_id", "ignored_index",
    "image_start_token_id", "image_end_token_id", "video_start_token_id", "video_end_token_id",
    "vision_start_token_id", "vision_end_token_id",
    # training
    "initializer_range", "attention_dropout", "aux_loss_alpha", "seq_aux", "gradient_checkpointing", "tf_legacy_loss",
    "hidden_dropout_prob", "attention_probs_dropout_prob",
    # how tokens are chosen from logits
    "max_length", "min_length", "do_sample", "early_stopping", "num_beam_groups", "diversity_penalty", "temperature",
    "top_k", "top_p", "typical_p", "repetition_penalty", "length_penalty", "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size", "bad_words_ids", "num_return_sequences", "remove_invalid_values",
    "exponential_decay_length_penalty", "suppress_tokens", "begin_suppress_tokens", "prefix",
    # in what form results are returned
    "return_dict", "return_dict_in_generate", "output_scores", "torchscript", "use_bfloat16",
    # a point names its own attention
    "_attn_implementation", "attn_implementation", "_attn_implementation_autoset",
})
# fmt: on
