"""What is changed in vLLM's model before it is made, and what the model is asked for afterwards."""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]  # an object of JSON, or what the engine makes of one
RANDOM = "ocrsweep_random"  # a load format
DEVIATION = 0.02
LIMITS = ("max_num", "max_crops")  # vLLM's names for the most crops


def limit_crops(most: int) -> None:
    """Sets how many crops a page may have. vLLM has its limit as a default of four functions."""
    from vllm.transformers_utils.processors import deepseek_ocr as processor

    functions: list[Any] = [processor.count_tiles, processor.dynamic_preprocess, processor.calculate_aspect_ratios]
    for function in (*functions, processor.DeepseekOCRProcessor.__init__):
        defaults, code = function.__defaults__, function.__code__
        names = code.co_varnames[: code.co_argcount][-len(defaults) :]
        function.__defaults__ = tuple(
            most if name in LIMITS else value for name, value in zip(names, defaults, strict=True)
        )


def random_format() -> str:
    """The name of a load format that draws weights, before vLLM packs them for its kernels."""
    from vllm.model_executor.model_loader import DummyModelLoader, register_model_loader

    @register_model_loader(RANDOM)
    class RandomLoader(DummyModelLoader):  # type: ignore[misc]  # vLLM is in another interpreter
        """Norms of ones, biases of zeros, the rest normal: every expert is chosen, as by real weights."""

        def load_weights(self, model: Any, model_config: Any) -> None:
            import torch

            super().load_weights(model, model_config)
            with torch.no_grad():
                for name, weights in model.named_parameters():
                    draw(name, weights)
            model.ocrsweep_weight_bytes = weight_bytes(model)

    return RANDOM


def draw(name: str, weights: Any) -> None:
    if weights.ndim == 1 and name.endswith("weight"):
        weights.fill_(1)
    elif weights.ndim == 1 and name.endswith("bias"):
        weights.zero_()
    elif weights.is_floating_point():
        drawn = weights.float() if weights.element_size() == 1 else weights  # 8 bits cannot be drawn
        weights.copy_(drawn.normal_(0, DEVIATION))


def figures(model: Any) -> Row:
    """The bytes of the weights, None if kernels have packed them and nobody counted before; how the decoder attends."""
    layers = [module for module in model.modules() if type(module).__name__ == "Attention"]
    packed = any(weights.numel() == 0 for weights in model.parameters())
    return {
        "weight_bytes": getattr(model, "ocrsweep_weight_bytes", None if packed else weight_bytes(model)),
        "attention": ", ".join(sorted({layer.attn_backend.get_name() for layer in layers})) or None,
    }


def weight_bytes(model: Any) -> int:
    return sum(weights.numel() * weights.element_size() for weights in model.parameters())


def gpu() -> str | None:
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None


def energy_mj() -> int | None:
    """What the model's GPU took since its driver was loaded, in millijoules; None if the board does not count it."""
    import torch

    if not torch.cuda.is_available():
        return None
    from vllm.third_party import pynvml

    try:
        pynvml.nvmlInit()
        board = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(0).uuid}")
        return int(pynvml.nvmlDeviceGetTotalEnergyConsumption(board))
    except pynvml.NVMLError:
        return None
