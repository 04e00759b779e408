"""The calls that are counted and timed are the reference model's own forward."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the reference model needs the extra [vendor]")
pytest.importorskip("transformers", reason="the reference model needs the extra [vendor]")

from small_pages import SMALL, small  # noqa: E402

from pytest_ocrsweep import CropGrid, Workload, load_model  # noqa: E402
from pytest_ocrsweep.model.attention import ATTENTION  # noqa: E402
from pytest_ocrsweep.vendor_model import build, forward  # noqa: E402

CPU = torch.device("cpu")
TINY = load_model("deepseek-ocr-tiny").architecture
PAGE = Workload(CropGrid(1, 1), new_tokens=3, resolution="tiny")
CROPS = Workload(CropGrid(1, 2), batch=2, resolution="gundam")


@pytest.fixture
def model():
    return build.build(TINY, "flash", "grouped_mm", "cpu")


def prefilled(model, work: Workload, attention: str):
    """Our call over `work`, and the inputs it had."""
    torch.manual_seed(1)
    like, context = model.lm_head.weight, work.context_tokens
    page, ids = forward.pages(work, like), forward.prompt(work, model.config.image_token_id, CPU)
    mask = forward.causal_mask(context, context, like) if attention == "eager" else None
    return forward.prefill(model, page, ids, torch.arange(context)[None], mask), page, ids


@pytest.mark.parametrize(
    ("sizes", "work"),
    [(TINY, PAGE), (SMALL.architecture, small(CROPS)), pytest.param(TINY, CROPS, marks=pytest.mark.slow)],
    ids=["view", "small crops of two pages", "crops of two pages"],
)
@pytest.mark.parametrize("attention", ATTENTION)
def test_our_prefill_is_the_vendors_own_forward(attention, sizes, work):
    model = build.build(sizes, attention, "grouped_mm", "cpu")
    ours, page, ids = prefilled(model, work, attention)
    del model.model.get_placeholder_mask  # now the vendor's own, which checks that tokens match features
    theirs = model(input_ids=ids, **page.arguments(model))
    assert ours.logits.shape == (work.batch, work.context_tokens, TINY.decoder.vocabulary)
    assert torch.equal(ours.logits, theirs.logits)


@pytest.mark.parametrize("attention", ATTENTION)
def test_the_logits_depend_on_the_pixels(attention):
    model = build.build(TINY, attention, "grouped_mm", "cpu")
    ours, page, ids = prefilled(model, PAGE, attention)
    other = model(input_ids=ids, pixel_values=-page.views)
    assert not torch.equal(ours.logits, other.logits)


@pytest.mark.parametrize("attention", ATTENTION)
def test_decode_goes_on_where_prefill_ended(attention):
    """The last token of a prefill, decoded after the others, gets the same logits but for rounding."""
    model = build.build(TINY, attention, "grouped_mm", "cpu").float()
    whole, _, ids = prefilled(model, PAGE, attention)
    past, last = whole.past_key_values, PAGE.context_tokens - 1
    past.crop(-1)
    mask = forward.causal_mask(1, last + 1, model.lm_head.weight) if attention == "eager" else None
    step = forward.decode_step(model, ids[:, last:], torch.full((1, 1), last), past, mask)
    torch.testing.assert_close(step.logits[:, -1], whole.logits[:, -1])


def test_a_step_grows_its_cache_by_one_key(model):
    past = forward.filled_cache(model, batch=2, context=7)
    assert past.get_seq_length() == 7
    ids, positions = torch.zeros(2, 1, dtype=torch.long), torch.full((1, 1), 7)
    out = forward.decode_step(model, ids, positions, past, None)
    assert out.logits.shape[:2] == (2, 1)
    assert out.past_key_values is past
    assert past.get_seq_length() == 8


def test_a_step_from_a_renewed_cache_leaves_the_first_as_it_was(model):
    past = forward.filled_cache(model, batch=1, context=7)
    keys = [layer.keys.clone() for layer in past.layers]
    ids, positions = torch.zeros(1, 1, dtype=torch.long), torch.full((1, 1), 7)
    logits = [forward.decode_step(model, ids, positions, forward.renewed(past), None).logits for _ in range(2)]
    assert torch.equal(*logits)
    assert past.get_seq_length() == 7
    assert all(torch.equal(layer.keys, before) for layer, before in zip(past.layers, keys, strict=True))


def test_a_renewed_cache_shares_the_tensors_it_starts_from(model):
    past = forward.filled_cache(model, batch=1, context=7)
    fresh = forward.renewed(past)
    pairs = zip(past.layers, fresh.layers, strict=True)
    assert all(old is not new and old.keys is new.keys and old.values is new.values for old, new in pairs)


def test_the_causal_mask_hides_what_comes_after():
    mask = forward.causal_mask(2, 4, torch.empty(0))
    assert mask.shape == (1, 1, 2, 4)
    assert (mask[0, 0] == 0).tolist() == [[True, True, True, False], [True, True, True, True]]
