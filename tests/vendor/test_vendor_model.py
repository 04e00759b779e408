"""The vendor's model, its calls, clocks and timing, as far as they go without a GPU."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="the vendor model needs the extra [vendor]")
pytest.importorskip("transformers", reason="the vendor model needs the extra [vendor]")

from pytest_ocrsweep import CropGrid, Workload, load_model  # noqa: E402
from pytest_ocrsweep.baselines.sampling import Machine, TimeCap  # noqa: E402
from pytest_ocrsweep.model.stages import ATTENTION, STAGES  # noqa: E402
from pytest_ocrsweep.vendor_model import build, clocks, forward, gpu_state, graph_speed, timing  # noqa: E402

CPU = torch.device("cpu")
MODEL = load_model("deepseek-ocr-tiny")
TINY = MODEL.architecture
PAGE = Workload(CropGrid(1, 1), new_tokens=3, resolution="tiny")
CROPS = Workload(CropGrid(1, 2), batch=2, resolution="gundam")
MS = 1_000_000


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Torch's threads stand in each other's way on a busy machine; and nothing is trained here."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.no_grad():
        yield
    torch.set_num_threads(threads)


def built(attention: str = "flash", experts: str = "grouped_mm", seed: int = 0):
    return build.build(TINY, attention, experts, "cpu", seed)


@pytest.fixture
def model():
    return built()


# The model


def test_a_seed_gives_the_same_weights_every_time(model):
    again = built("eager", "batched_mm").state_dict()
    assert again.keys() == model.state_dict().keys()
    assert all(torch.equal(tensor, again[name]) for name, tensor in model.state_dict().items())


def test_another_seed_gives_other_weights(model):
    other = dict(built(seed=1).named_parameters())
    same = [name for name, parameter in model.named_parameters() if torch.equal(parameter, other[name])]
    assert same
    assert all("norm" in name and name.endswith("weight") for name in same)


def test_every_parameter_is_random_but_the_norms_weights_which_are_one(model):
    """What is left as it was allocated is none of these; zeros a GPU runs faster."""
    for name, parameter in model.named_parameters():
        values = parameter.double()
        if "norm" in name and name.endswith("weight"):
            assert torch.equal(parameter, torch.ones_like(parameter)), name
        else:
            error = 0.02 * 5 / (2 * values.numel()) ** 0.5
            assert values.std().item() == pytest.approx(0.02, abs=error), name
            assert abs(values.mean().item()) < 0.02 * 5 / values.numel() ** 0.5, name


def test_everything_is_in_the_models_dtype_and_nothing_is_left_undefined(model):
    half = build.build(replace(TINY, dtype="fp16"), "flash", "grouped_mm", "cpu")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert {parameter.dtype for parameter in half.parameters()} == {torch.float16}
    assert all(buffer.isfinite().all() for buffer in model.buffers())


def test_it_is_for_inference(model):
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_attention_and_experts_are_those_asked_for():
    model = built("eager", "batched_mm")
    assert model.config.text_config._attn_implementation == "eager"
    assert model.config.text_config._experts_implementation == "batched_mm"
    assert built("flash").config.text_config._attn_implementation == "sdpa"
    assert build.use(model, "grouped_mm").config.text_config._experts_implementation == "grouped_mm"


# Its calls


def prefilled(model, work: Workload, attention: str):
    """Our call over `work`, and the inputs it had."""
    torch.manual_seed(1)
    like, context = model.lm_head.weight, work.context_tokens
    page, ids = forward.pages(work, like), forward.prompt(work, model.config.image_token_id, CPU)
    mask = forward.causal_mask(context, context, like) if attention == "eager" else None
    return forward.prefill(model, page, ids, torch.arange(context)[None], mask), page, ids


@pytest.mark.parametrize("work", [PAGE, CROPS], ids=["view", "crops of two pages"])
@pytest.mark.parametrize("attention", ATTENTION)
def test_our_prefill_is_the_vendors_own_forward(attention, work):
    model = built(attention)
    ours, page, ids = prefilled(model, work, attention)
    del model.model.get_placeholder_mask  # now the vendor's own, which checks that tokens match features
    theirs = model(input_ids=ids, **page.arguments)
    assert ours.logits.shape == (work.batch, work.context_tokens, TINY.decoder.vocabulary)
    assert torch.equal(ours.logits, theirs.logits)


@pytest.mark.parametrize("attention", ATTENTION)
def test_the_logits_depend_on_the_pixels(attention):
    model = built(attention)
    ours, page, ids = prefilled(model, PAGE, attention)
    other = model(input_ids=ids, pixel_values=-page.views)
    assert not torch.equal(ours.logits, other.logits)


@pytest.mark.parametrize("attention", ATTENTION)
def test_decode_goes_on_where_prefill_ended(attention):
    """The last token of a prefill, decoded after the others, gets the same logits but for rounding."""
    model = built(attention).float()
    whole, _, ids = prefilled(model, PAGE, attention)
    past, last = whole.past_key_values, PAGE.context_tokens - 1
    past.crop(-1)
    mask = forward.causal_mask(1, last + 1, model.lm_head.weight) if attention == "eager" else None
    step = forward.decode_step(model, ids[:, last:], torch.full((1, 1), last), past, mask)
    torch.testing.assert_close(step.logits[:, -1], whole.logits[:, -1])


def test_a_step_grows_its_cache_by_one_key(model):
    past = forward.filled_cache(model, batch=2, keys=7)
    assert past.get_seq_length() == 7
    ids, positions = torch.zeros(2, 1, dtype=torch.long), torch.full((1, 1), 7)
    out = forward.decode_step(model, ids, positions, past, None)
    assert out.logits.shape[:2] == (2, 1)
    assert out.past_key_values is past
    assert past.get_seq_length() == 8


def test_a_step_from_a_renewed_cache_leaves_the_first_as_it_was(model):
    past = forward.filled_cache(model, batch=1, keys=7)
    keys = [layer.keys.clone() for layer in past.layers]
    ids, positions = torch.zeros(1, 1, dtype=torch.long), torch.full((1, 1), 7)
    logits = [forward.decode_step(model, ids, positions, forward.renewed(past), None).logits for _ in range(2)]
    assert torch.equal(*logits)
    assert past.get_seq_length() == 7
    assert all(torch.equal(layer.keys, before) for layer, before in zip(past.layers, keys, strict=True))


def test_a_renewed_cache_shares_the_tensors_it_starts_from(model):
    past = forward.filled_cache(model, batch=1, keys=7)
    fresh = forward.renewed(past)
    pairs = zip(past.layers, fresh.layers, strict=True)
    assert all(old is not new and old.keys is new.keys and old.values is new.values for old, new in pairs)


def test_the_causal_mask_hides_what_comes_after():
    mask = forward.causal_mask(2, 4, torch.empty(0))
    assert mask.shape == (1, 1, 2, 4)
    assert (mask[0, 0] == 0).tolist() == [[True, True, True, False], [True, True, True, True]]


# Clocks


def test_a_cpus_device_clock_is_the_hosts():
    found = clocks.device_clock(CPU, lambda: None)
    assert (type(found), found.name, found.kernels) == (clocks.HostClock, "host", None)


def test_the_hosts_clock_times_each_call_and_no_other():
    called = []
    times = clocks.HostClock(lambda: called.append(1)).batch(4)
    assert len(called) == len(times) == 4
    assert all(type(ns) is int and ns > 0 for ns in times)


def test_a_delay_shows_on_the_clock():
    delay = clocks.delay_of(CPU, 50 * MS)
    without, slowed = (clocks.device_clock(CPU, lambda: None, d).batch(3) for d in (None, delay))
    assert min(without) < 50 * MS <= min(slowed)


def test_what_no_graph_captures_is_timed_by_the_profiler(monkeypatch):
    def refuse(call, delay):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(clocks, "GraphClock", refuse)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    assert clocks.device_clock(torch.device("cuda"), lambda: None).name == "profiler"


def test_a_gpu_without_room_is_no_reason_for_another_clock(monkeypatch):
    def refuse(call, delay):
        raise torch.cuda.OutOfMemoryError

    monkeypatch.setattr(clocks, "GraphClock", refuse)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        clocks.device_clock(torch.device("cuda"), lambda: None)


# The driver's pace


class Replayed:
    """A graph on a driver that changes its pace with the sixth graph, or when the third reading has passed.

    The second reading is slow by itself.
    """

    graphs, readings, changes = 0, 0, ""

    def __init__(self, call):
        type(self).graphs += 1

    def batch(self, times):
        type(self).readings += times > 1
        slow = {"by graph": self.graphs >= 6, "by time": self.readings > 3, "never": False}[self.changes]
        slow |= self.readings == 2
        return [(1100 if slow else 900) * graph_speed.KERNELS] * times


@pytest.mark.parametrize(("changes", "settled"), [("by graph", True), ("by time", True), ("never", False)])
def test_graphs_are_captured_until_the_driver_has_changed_its_pace(monkeypatch, changes, settled):
    monkeypatch.setattr(Replayed, "graphs", 0)
    monkeypatch.setattr(Replayed, "readings", 0)
    monkeypatch.setattr(Replayed, "changes", changes)
    monkeypatch.setattr(graph_speed, "GraphClock", Replayed)
    monkeypatch.setattr(torch, "zeros", lambda *shape, device: torch.ones(shape))
    probe = graph_speed.Pace()
    assert probe.settle(patience_s=0.05) is settled
    assert probe.ns() == (1100 if settled else 900)


def test_the_pace_is_read_with_the_machine():
    assert gpu_state.reader(CPU, SimpleNamespace(ns=lambda: 907))() == Machine(graph_kernel_ns=907)


# The machine


class Nvml:
    """As much of pynvml as is asked, for one GPU that does not tell its temperature."""

    NVMLError = KeyError
    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = range(3)

    def __init__(self, reasons: int, processes: int) -> None:
        self._reasons, self._processes = reasons, processes

    def nvmlInit(self):
        pass

    def nvmlDeviceGetHandleByUUID(self, uuid):
        return {"GPU-1f": "handle"}[uuid]

    def nvmlDeviceGetClockInfo(self, handle, kind):
        return {self.NVML_CLOCK_SM: 1980, self.NVML_CLOCK_MEM: 3201}[kind]

    def nvmlDeviceGetPowerUsage(self, handle):
        return 650_500

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle):
        return self._reasons

    def nvmlDeviceGetTemperature(self, handle, sensor):
        raise KeyError("not supported")

    def nvmlDeviceGetComputeRunningProcesses(self, handle):
        return [SimpleNamespace(pid=pid) for pid in range(-self._processes, 0)]


def read(monkeypatch, nvml: object, uuid: str = "1f") -> Machine:
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid=uuid))
    return gpu_state.reader(torch.device("cuda"))()


def test_of_a_cpu_nothing_is_known():
    assert gpu_state.reader(CPU)() == Machine()


def test_a_gpu_tells_its_clocks_power_throttling_and_company(monkeypatch):
    told = read(monkeypatch, Nvml(reasons=0x24, processes=2))
    assert told == Machine(1980, 3201, 650.5, None, ("sw_power_cap", "sw_thermal_slowdown"), 2)


def test_a_gpu_at_ease_has_no_throttle_reason_rather_than_an_unknown_one(monkeypatch):
    told = read(monkeypatch, Nvml(reasons=0, processes=0))
    assert (told.throttle_reasons, told.other_processes) == ((), 0)


@pytest.mark.parametrize("nvml", [None, Nvml(0, 0)], ids=["no library", "another device"])
def test_of_a_gpu_that_nvml_does_not_know_nothing_is_known(monkeypatch, nvml):
    assert read(monkeypatch, nvml, uuid="2e") == Machine()


def test_there_is_no_driver_version_without_nvml(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert gpu_state.driver() is None


# Timing


@pytest.fixture(scope="module")
def vendor() -> timing.Vendor:
    return timing.Vendor(TINY, CPU, rule=TimeCap(0.01))


@pytest.mark.parametrize("attention", ATTENTION)
@pytest.mark.parametrize("stage", STAGES)
def test_the_calls_that_are_timed_are_the_ones_that_are_counted(vendor, stage, attention):
    with vendor.timed(stage, PAGE, attention) as point:
        assert point.tensor_flops() == MODEL.ledger(stage, PAGE, attention).total().tensor_flops
        assert len(point.clocks) == (2 if stage == "decode" else 1)
        assert (point.token_ns() is None) == (stage != "decode")


def test_sampling_stops_by_the_rule_it_is_given(vendor):
    with vendor.timed("decode", PAGE, "flash") as point:
        samples = point.sample()
    assert samples.stopped == "time cap of 0.01 s"
    assert len(samples.ns) % timing.BATCH == 0
    assert (samples.before, samples.after, samples.objections) == (Machine(), Machine(), ())


def test_a_model_is_built_once_for_an_attention(vendor):
    assert vendor.built("flash", "grouped_mm") is vendor.built("flash", "batched_mm")
    assert vendor.built("flash", "grouped_mm") is not vendor.built("eager", "grouped_mm")


def test_a_decodes_time_is_its_steps_at_the_mean_of_first_and_last():
    class Step:
        name, kernels = "host", None

        def __init__(self, *ns: int) -> None:
            self._ns = ns

        def batch(self, times: int) -> list[int]:
            return [self._ns[i % len(self._ns)] for i in range(times)]

    region = timing.Region((print, print), print, times=100, cache_growth=0, steps=True)
    point = timing.Timed(region, [Step(10, 12), Step(20, 22)], Machine, TimeCap(0), None, None, None)
    assert point.sample().ns == (1500, 1700, 1500, 1700, 1500)
    assert point.token_ns() == [10, 20]


def test_a_slowdown_makes_the_measured_region_slower_by_its_percentage(monkeypatch):
    """Beside the wall time, which is not slowed."""
    delays = []
    monkeypatch.setattr(timing, "delay_of", lambda device, ns: delays.append(ns) or clocks.delay_of(device, ns))
    slowed = timing.Vendor(TINY, CPU, slowdown_percent=2900, rule=TimeCap(0.01))
    with slowed.timed("decode", PAGE, "flash") as point:
        assert len(delays) == len(point.clocks)
        slower = sum(delays) * PAGE.new_tokens // len(delays)  # 29 times what the stage took a moment before
        assert point.wall.min < slower <= point.sample().min


def test_what_is_loaded_takes_the_place_of_random_weights(model):
    asked = []

    def load(attention: str, experts: str):
        asked.append((attention, experts))
        return model

    loaded = timing.Vendor(TINY, CPU, load=load)
    assert loaded.built("flash", "batched_mm") is model
    assert asked == [("flash", "batched_mm")]
