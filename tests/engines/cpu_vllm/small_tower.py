"""A plugin of vLLM that makes DeepSeek-OCR's vision tower small enough for a CPU: 0.5 million weights for 400 million.

vLLM writes the sizes of SAM and CLIP into its code, so that no config.json changes them. This replaces the two names by
which its model makes them. vLLM loads its plugins in every process that it starts.
"""

from functools import partial

WIDTH = 64  # of SAM and of CLIP; the projector takes both side by side
NECK = 16


def register():
    import transformers
    from vllm.model_executor.models import deepencoder, deepseek_ocr

    class SmallSam(deepencoder.ImageEncoderViT):
        """One windowed block and one global block, with the convolutions that follow them."""

        def __init__(self):
            from torch.nn import LayerNorm

            super().__init__(
                depth=2, embed_dim=WIDTH, num_heads=2, mlp_ratio=2, window_size=14, global_attn_indexes=[1],
                use_rel_pos=True, last_conv_output=WIDTH, norm_layer=partial(LayerNorm, eps=1e-6),
            )  # fmt: skip
            convolution, norm = deepencoder.Conv2dLayer, deepencoder.LayerNorm2d
            self.neck[0] = convolution(WIDTH, NECK, kernel_size=1, bias=False)
            self.neck[1] = norm(NECK)
            self.neck[2] = convolution(NECK, NECK, kernel_size=3, padding=1, bias=False)
            self.neck[3] = norm(NECK)
            self.net_2 = convolution(NECK, 2 * NECK, kernel_size=3, stride=2, padding=1, bias=False)
            self.net_3 = convolution(2 * NECK, WIDTH, kernel_size=3, stride=2, padding=1, bias=False)

    sizes = {"hidden_size": WIDTH, "intermediate_size": 128, "num_attention_heads": 2, "num_hidden_layers": 2}
    deepseek_ocr.build_sam_vit_b = SmallSam
    deepseek_ocr.CLIPVisionConfig = lambda **given: transformers.CLIPVisionConfig(**{**given, **sizes})
