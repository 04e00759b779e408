"""A stage as an engine runs it, in plain torch on the meta device, to be counted at the dispatcher.

Only what no library has in the open is an operation of our own, `fused_kernels`. Written after vLLM 0.26,
model_executor/models/deepseek_ocr.py.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..model.architecture import Architecture
from ..model.engine import Engine
from ..model.geometry import Workload
from ..model.stage_kernels import kv_cache_bytes
from ..model.stages import STAGES, point
from ..model.symbolic import poly
from . import build, dispatch_count, forward
from .families import ReferenceModel
from .fused_kernels import from_host
from .plain_decoder import Inputs, PlainDecoder, Pool, parameter
from .plain_fp8 import PlainFp8Decoder
from .plain_original import Features
from .plain_vision import features, use_plain_vision
from .regions import experts_of

Run = Callable[[], object]
Counts = tuple[int, int, int, int, int]  # tensor FLOPs, vector FLOPs, bytes read, bytes written, peak bytes


class PlainEngine:
    """The model on an engine with fused attention, whatever else it fuses."""

    def __init__(self, model: Architecture, engine: Engine) -> None:
        self.model, self.engine = model, engine
        self.built: ReferenceModel = build.build(model, "flash", model.decoder.prefill_experts, "meta")
        use_plain_vision(self.built, engine)
        decoder = PlainFp8Decoder if engine.fp8_products else PlainDecoder
        self.decoder = decoder(self.built, model.decoder, engine)
        self._calls: dict[str, Callable[[Workload], Run]] = {
            "vision": self._vision,
            "prefill": self._prefill,
            "decode": self._decode,
        }

    def counts(self, stage: str, work: Workload) -> Counts:
        """What is counted, the peak less what the KV cache grows; of a decode its first step."""
        build.use(self.built, experts_of(self.model.decoder, stage))
        with dispatch_count.counting(self.model.decoder.experts_per_token, at_once=False) as counter:
            call = self._calls[stage](work)
            counter.start()
            kept = call()
        counts, growth = counter.counts, 0
        if self.engine.kv_block_tokens is None:
            decoder = self.model.decoder
            added = kv_cache_bytes(self.model, STAGES[stage].keys_added(decoder))
            growth = poly(added).at(point(work, decoder, self.engine))
        del kept
        flops = dispatch_count.tensor_flops(self._calls[stage](work))
        return flops, counts.vector_flops, counts.read_bytes, counts.write_bytes, counts.peak_bytes - growth

    def fp8_tensor_flops(self, stage: str, work: Workload) -> int:
        """Those of the tensor FLOPs whose operands are 8-bit floats; of a decode its first step."""
        return dispatch_count.fp8_tensor_flops(self._calls[stage](work))

    def _vision(self, work: Workload) -> Run:
        pages = forward.pages(work, self.built.lm_head.weight, self.model)
        return lambda: features(self.built, pages, self.engine)

    def _prefill(self, work: Workload) -> Run:
        pages = forward.pages(work, self.built.lm_head.weight, self.model)
        tokens, context = work.batch * work.context_tokens, work.context_tokens
        ids = _integers(tokens)
        blocks = self.engine.kv_block_tokens is not None
        rows = self.engine.step_rows(tokens) if self.engine.pads_prompts else tokens
        inputs = self._inputs(work, rows, context, keys=context if blocks else 0)

        def run() -> object:
            if self.engine.indexed_places:
                found = features(self.built, pages, self.engine)
                given = [self._buffered([self._indexed(ids, found)], rows)]
                x = self._decoded(given, inputs)
                del found
                return self._head(x, inputs.last), inputs.pool
            x = self.built.model.get_input_embeddings()(ids)
            found = features(self.built, pages, self.engine)
            places = (ids == self.built.config.image_token_id).unsqueeze(-1)
            images = torch.cat(found.pages)
            x = x.masked_scatter(places, images)
            x = self._decoded([x], inputs)
            del found, places, images
            return self._head(x, inputs.last), inputs.pool

        return run

    def _indexed(self, ids: torch.Tensor, found: Features) -> torch.Tensor:
        """The embedded prompt with image tokens where the host knows that they belong."""
        x: torch.Tensor = self.built.model.get_input_embeddings()(ids)
        images = torch.cat(found.pages)
        places = from_host(ids, len(images))
        x[places] = images
        return x

    def _buffered(self, x: list[torch.Tensor], rows: int) -> torch.Tensor:
        """The embedded tokens in a buffer of so many rows."""
        buffer = torch.empty(rows, x[0].shape[-1], dtype=x[0].dtype, device="meta")
        buffer[: len(x[0])].copy_(x.pop())
        return buffer

    def _decode(self, work: Workload) -> Run:
        rows, keys = self.engine.step_rows(work.batch), work.context_tokens + 1
        inputs = self._inputs(work, rows, 1, keys=keys if self.engine.kv_block_tokens is not None else keys - 1)
        ids = _integers(work.batch if self.engine.indexed_places else rows)

        def run() -> object:
            x = self.built.model.get_input_embeddings()(ids)
            given = [x]
            del x
            if self.engine.indexed_places:
                given = [self._buffered(given, rows)]
            x = self._decoded(given, inputs)
            return self._head(x, inputs.last), inputs.pool

        return run

    def _inputs(self, work: Workload, rows: int, queries: int, keys: int) -> Inputs:
        d = self.model.decoder
        shape = (work.batch, d.kv_heads, keys, d.width // d.heads)
        pool: Pool = [(parameter(*shape), parameter(*shape)) for _ in range(d.layers)]
        one_page = _integers(queries)[None]
        return Inputs(
            _integers(rows), one_page, _integers(work.batch * queries), _integers(work.batch), work.batch, pool
        )

    def _decoded(self, x: list[torch.Tensor], inputs: Inputs) -> torch.Tensor:
        """Nobody here holds the embedded tokens while the decoder runs."""
        return self.decoder.run(x.pop(), inputs)

    def _head(self, x: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.built.lm_head(x[last] if self.engine.last_logits else x)
        return logits.float() if self.engine.float_logits else logits


def _integers(count: int) -> torch.Tensor:
    return torch.zeros(count, dtype=torch.long, device="meta")
