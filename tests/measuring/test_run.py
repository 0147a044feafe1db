"""From a model to a measured profile, on a device whose time and memory are made up."""

from __future__ import annotations

import dataclasses
import queue
import random
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import numpy
import pytest
import torch
from builders import name_rows
from fake_time import Residual, Time, Work
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import archprof
from archprof.errors import ArchprofError, DoesNotFit, UsageError
from archprof.facts.needed_bytes import count_needed_bytes
from archprof.facts.overlays import Outside
from archprof.facts.ran import Ran
from archprof.facts.records import Decoding, Profile
from archprof.measuring import run
from archprof.measuring.batch_search import MAX_BATCH, search_largest_batch
from archprof.measuring.boundaries import ModuleMarking
from archprof.measuring.live_model import LiveModel
from archprof.measuring.passes import EagerSource, RowSampler, WholeSampler
from archprof.measuring.protocols import MeasuredWay, PassMemory, Unmeasurable
from archprof.sources.resolve import resolve

TIME = Time()


class Device:
    """Runs on the CPU in a time of its own; passes above `fits` samples run out of memory."""

    kind, name, raises_when_full = "cpu", "a machine of paper", True
    fits, free, broken = 1000, 10**12, False

    def clock(self) -> Time:
        return TIME

    def synchronize(self) -> None:
        pass

    def hold_settings(self) -> AbstractContextManager[None]:
        return nullcontext()

    def make_ways(self, subject: LiveModel, profile: Profile) -> list[MeasuredWay]:
        whole = WholeSampler(EagerSource(subject, None, TIME))
        ways = [
            MeasuredWay(
                "cpu",
                RowSampler(EagerSource(subject, ModuleMarking(profile), TIME)),
                whole,
                overhead=0.5,
            )
        ]
        return [*ways, MeasuredWay("kernel", Broken(), whole, sampled_last=True)] if self.broken else ways

    def measure_memory(self, subject: LiveModel, profile: Profile) -> PassMemory:
        return PassMemory((), None, ("Memory is made of paper.",))

    def free_bytes(self) -> int | None:
        return self.free

    def is_out_of_memory(self, error: BaseException) -> bool:
        return "paper is full" in str(error)

    def release_cache(self) -> None:
        pass

    def environment(self) -> Ran:
        return Ran(details={"material": "paper"})


class Broken:
    name = "broken"

    def prepare(self) -> None:
        pass

    def sample(self) -> Any:
        raise Unmeasurable("There is no profiler on paper.")


@pytest.fixture(autouse=True)
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Device]]:
    """Devices and planning both live in `TIME`."""
    monkeypatch.setitem(run.DEVICE_CLASSES, "cpu", Device)
    monkeypatch.setattr(
        run.schedule.sample_in_rounds, "__kwdefaults__", run.schedule.sample_in_rounds.__kwdefaults__ | {"now": TIME}
    )
    TIME.now = 0.0
    for name in ("fits", "free", "broken", "raises_when_full"):
        monkeypatch.setattr(Device, name, getattr(Device, name))
    return Device


class Full(nn.Module):
    """Runs out of memory where the batch is too large."""

    def forward(self, tensor: torch.Tensor) -> torch.Tensor:
        if not tensor.is_meta and tensor.shape[0] > Device.fits:
            raise RuntimeError("the paper is full")
        TIME.spend(1.0)
        return tensor * 2


def net() -> nn.Module:
    return nn.Sequential(Work(TIME, 3.0, 6.0), Residual(TIME, Work(TIME, 5.0, 10.0), nn.ReLU()), nn.Identity())


def test_the_numbers_of_a_model_whose_times_are_known() -> None:
    told: list[float] = []
    profile = archprof.measure(net(), (2, 3), seconds=126.0, progress=lambda done, left: told.append(done))
    profile.check()
    measurement = profile.measurement
    assert measurement is not None
    assert (measurement.ran.device, measurement.ran.device_name, measurement.mode) == (
        "cpu",
        "a machine of paper",
        "forward",
    )
    assert measurement.first_call_seconds == 9.0
    assert measurement.ran.details == {"material": "paper"}
    assert measurement.notes == ("Memory is made of paper.",)
    latency = measurement.latency
    assert latency is not None
    # 7 rounds of 18 s, shared by passes with and without marks of 9 s each: one sample of each a round.
    names = name_rows(profile)
    assert {names[row.key][0]: (row.p50, row.low, row.high, row.samples) for row in latency.layers} == {
        "": (0, 0, 0, 7), "0": (3, 3, 3, 7), "1": (1, 1, 1, 7), "1.inner": (0, 0, 0, 7), "1.inner.0": (5, 5, 5, 7),
        "1.inner.1": (0, 0, 0, 7), "2": (0, 0, 0, 7),
    }  # fmt: skip
    assert {row.key: row.p50 for row in latency.rest} == {Outside.BETWEEN_LAYERS: 0, Outside.UNATTRIBUTED: 0}
    assert (latency.whole.key, latency.whole.rounds) == (Outside.WHOLE, ((9.0,),) * 7)
    assert latency.notes == ("5 rows take less than 1.50 s, 3 times what a mark costs: only that is known of them.",)
    assert told[-1] == 1.0


def test_a_training_step_is_the_way_there_and_back() -> None:
    profile = archprof.measure(net(), (2, 3), seconds=400.0, train=True)
    assert profile.measurement is not None
    latency = profile.measurement.latency
    assert latency is not None
    names = name_rows(profile)
    assert {names[row.key][0]: row.p50 for row in latency.layers if row.p50} == {"0": 9, "1": 3, "1.inner.0": 15}
    assert [row.key for row in latency.rest] == [
        Outside.OUTSIDE_MODULES, Outside.GRADIENT_ACCUMULATION, Outside.OPTIMIZER_STEP, Outside.BETWEEN_LAYERS,
        Outside.UNATTRIBUTED,
    ]  # fmt: skip
    assert latency.whole.p50 == 27.0
    assert "one step of SGD" in profile.measurement.notes[0]
    assert profile.mode == "train"


def test_a_layer_that_only_the_trace_calls_has_no_latency() -> None:
    class Shy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Work(TIME, 1.0)

        def forward(self, tensor: torch.Tensor) -> Any:
            return (self.inner(tensor) if tensor.is_meta else self.inner.forward(tensor)) * 2

    profile = archprof.measure(Shy(), (2, 3), seconds=14.0)
    profile.check()
    assert profile.measurement is not None
    latency = profile.measurement.latencies[0]
    assert {row.key: row.p50 for row in latency.layers} == {0: 1.0}
    assert latency.notes[0] == "1 rows did not run in the real passes, the first is inner."


def test_what_cannot_be_repeated_is_refused() -> None:
    with pytest.raises(UsageError, match="saved profile"):
        archprof.measure("resnet50.json")
    step = dataclasses.replace(resolve(Full(), "3"), decoding=Decoding("decode", 8, (), 4))
    with pytest.raises(UsageError, match="cache grows with every pass"):
        run.measure_target(step)


class Slowing(nn.Module):
    """Every pass takes a tenth longer than the one before."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 1.0

    def forward(self, tensor: torch.Tensor) -> torch.Tensor:
        if not tensor.is_meta:
            self.seconds *= 1.1
            TIME.spend(self.seconds)
        return tensor * 2


def test_what_does_not_repeat_is_called_unstable() -> None:
    profile = archprof.measure(nn.Sequential(Slowing()), (2, 3), seconds=40.0)
    assert profile.measurement is not None
    latency = profile.measurement.latency
    assert latency is not None
    assert latency.notes[0].startswith("unstable: the rounds of the whole model lie between")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (36.0, "unstable: 2 of 7 rounds were measured, too few to see whether they agree."),
        (54.0, "3 of 7 rounds were measured: the interval is less sure."),
    ],
)
def test_too_few_rounds_are_named(seconds: float, words: str) -> None:
    measurement = archprof.measure(net(), (2, 3), seconds=seconds).measurement
    assert measurement is not None
    assert measurement.latencies[0].notes[0] == words


@pytest.mark.parametrize(("at", "rounds"), [(1.0, 0), (100.0, 3)])
def test_ctrl_c_gives_what_was_measured_so_far(at: float, rounds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Impatient(nn.Module):
        def forward(self, tensor: torch.Tensor) -> torch.Tensor:
            if not tensor.is_meta and TIME.now > at:
                raise KeyboardInterrupt
            return tensor * 2

    profile = archprof.measure(nn.Sequential(Work(TIME, 9.0), Impatient()), (2, 3), seconds=126.0)
    profile.check()
    measurement = profile.measurement
    assert measurement is not None
    assert measurement.interrupted
    assert profile.totals.macs == 0
    kept = [len(latency.whole.rounds) for latency in measurement.latencies]
    assert kept == ([rounds] if rounds else [])


def test_a_method_that_does_not_work_here_becomes_a_note(device: type[Device]) -> None:
    device.broken = True
    measurement = archprof.measure(net(), (2, 3), seconds=126.0).measurement
    assert measurement is not None
    assert [latency.method for latency in measurement.latencies] == ["cpu"]
    assert "There is no profiler on paper." in measurement.notes


def test_too_large_a_batch_is_a_result(device: type[Device]) -> None:
    device.fits = 5
    with pytest.raises(DoesNotFit, match="does not fit on the cpu at batch 6") as caught:
        archprof.measure(Full(), "3", batch=6)
    assert caught.value.batch == 6
    assert archprof.measure(Full(), "3", batch=5).measurement is not None
    assert archprof.measure(Full(), "3", batch="auto").batch == 5
    device.fits = 0
    with pytest.raises(DoesNotFit, match="at batch 1"):
        archprof.measure(Full(), "3", batch="auto")


def test_where_nothing_refuses_the_counted_bytes_decide(device: type[Device]) -> None:
    device.raises_when_full, device.free = False, 1000  # a sample is 12 bytes in and 12 bytes out; 900 may be taken
    assert archprof.measure(Full(), "3", batch="auto").batch == 900 // 24
    with pytest.raises(DoesNotFit, match=r"holds 912 B at its peak; 1,000 B are free"):
        archprof.measure(Full(), "3", batch=38)


def take_largest(kind: Any) -> int:
    """The largest batch that a class of models saw."""
    return max(kind.seen.get() for _ in range(kind.seen.qsize()))


class PerSample(nn.Module):
    """Takes a tenth of a second for each sample; keeps the largest batch that it saw."""

    seen: ClassVar[queue.SimpleQueue[int]] = queue.SimpleQueue()  # which a measurement does not put back

    def forward(self, tensor: torch.Tensor) -> torch.Tensor:
        if not tensor.is_meta:
            TIME.spend(0.1 * len(tensor))
            PerSample.seen.put(len(tensor))
        return tensor * 2


def test_the_search_ends_where_a_measurement_would_take_longer_than_it_may(device: type[Device]) -> None:
    """6 passes of 0.1 s a sample in 20 s: 16 samples are 9.6 s, 32 are 19.2 s, 64 are 38.4 s."""
    device.raises_when_full, device.free, device.fits = False, 10**9, 10**7
    profile = archprof.measure(PerSample(), "3", batch="auto")
    assert (profile.batch, take_largest(PerSample)) == (32, 32)
    assert profile.measurement is not None
    assert "Batches above 32 may fit as well" in profile.measurement.notes[0]
    assert "longer than 20 s" in profile.measurement.notes[0]
    assert archprof.measure(PerSample(), "3", batch="auto", seconds=40).batch == 64
    quick = archprof.measure(Full(), "3", batch="auto", seconds=1000)
    assert quick.batch > 10**6
    assert quick.measurement is not None
    assert not any("may fit" in note for note in quick.measurement.notes)


def test_a_model_that_does_not_run_says_so_after_a_search(device: type[Device]) -> None:
    device.raises_when_full = False

    class Picky(nn.Module):
        def forward(self, tensor: torch.Tensor) -> torch.Tensor:
            if not tensor.is_meta:
                raise ValueError("no values, please")
            return tensor * 2

    with pytest.raises(ArchprofError, match=r"does not run on the cpu in float32.\nValueError: no values, please"):
        archprof.measure(Picky(), "3", batch="auto")


class Choosy(nn.Module):
    """Needs values, so that its trace is a real pass, too; keeps the largest batch that it saw."""

    seen: ClassVar[queue.SimpleQueue[int]] = queue.SimpleQueue()  # which a measurement does not put back

    def forward(self, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.sum().item() > 1e9:
            return tensor
        TIME.spend(1.0)
        Choosy.seen.put(len(tensor))
        return tensor * 2


def test_the_search_runs_no_batch_that_the_counts_say_is_too_large(device: type[Device]) -> None:
    """12 bytes of a sample go in and 12 come out, beside 4 bytes of their sum and a bool; 900 may be taken."""
    device.raises_when_full, device.free = False, 1000
    found = archprof.measure(Choosy(), "3", batch="auto").batch
    assert found == 900 // 24
    assert take_largest(Choosy) == found


class Slow(nn.Conv2d):
    def forward(self, tensor: torch.Tensor) -> torch.Tensor:
        TIME.spend(1.0)
        return super().forward(tensor)


def test_a_convolution_is_given_room_for_its_blocked_copies(device: type[Device]) -> None:
    """1x1 on 4x4: a sample is 192 bytes in and 192 out, the weight is 36; a copy of each is needed."""
    device.raises_when_full, device.free = False, 10_000
    conv = Slow(3, 3, 1, bias=False)
    assert archprof.measure(conv, "3x4x4", batch="auto").batch == (9000 - 2 * 36) // (2 * 384)
    with pytest.raises(DoesNotFit, match=r"holds 9,288 B at its peak"):
        archprof.measure(conv, "3x4x4", batch=12)


def test_auto_needs_something_to_vary() -> None:
    with pytest.raises(UsageError, match="every input has its exact shape"):
        archprof.measure(Full(), (4, 3), batch="auto")


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("'tpu'", {"device": "tpu"}),
        ("'many'", {"batch": "many"}),
        ("0 rounds", {"rounds": 0}),
        ("'none'", {"causal": "none"}),
    ],
)
def test_what_cannot_be_asked_for(words: str, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=words):
        archprof.measure(net(), (2, 3), **options)


def test_a_model_that_counts_and_does_not_run_says_so() -> None:
    class Picky(nn.Module):
        def forward(self, tensor: torch.Tensor) -> torch.Tensor:
            if not tensor.is_meta:
                raise ValueError("no values, please")
            return tensor * 2

    with pytest.raises(ArchprofError, match=r"does not run on the cpu in float32.\nValueError: no values, please"):
        archprof.measure(Picky(), (2, 3))


def test_the_users_model_and_torch_are_as_they_were() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5), Work(TIME, 1.0))
    model[2].eval()
    given = torch.randn(4, 3)
    tensors = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.manual_seed(1), random.seed(1), numpy.random.seed(1)
    before = (torch.rand(1).item(), random.random(), numpy.random.rand())
    torch.manual_seed(1), random.seed(1), numpy.random.seed(1)
    kept = given.clone()
    archprof.measure(model, given, seconds=1.0, rounds=1, train=True)
    assert (torch.rand(1).item(), random.random(), numpy.random.rand()) == before
    assert torch.is_grad_enabled()
    assert torch.equal(given, kept)
    assert [module.training for module in model.modules()] == [True, True, True, False, True]
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    with torch.inference_mode():
        archprof.measure(model, given, seconds=1.0, rounds=1, train=True)
        assert torch.is_inference_mode_enabled()


@given(st.integers(1, MAX_BATCH))
def test_the_largest_batch_is_found(limit: int) -> None:
    tried: list[int] = []

    def fits(batch: int) -> bool:
        tried.append(batch)
        return batch <= limit

    assert search_largest_batch(fits) == limit
    assert len(tried) <= 2 * limit.bit_length() + 1
    assert max(tried) <= min(2 * limit, MAX_BATCH) or limit == 1


def test_nothing_may_fit_and_everything_may() -> None:
    assert search_largest_batch(lambda batch: False) is None
    assert search_largest_batch(lambda batch: True) == MAX_BATCH


def test_convolutions_take_whole_blocks_of_channels_beside_the_peak() -> None:
    """By hand: six channels lie in a block of eight; one channel stays as it is."""
    profile = archprof.profile(nn.Conv2d(1, 6, 5), (10, 1, 32, 32))
    held = 4 * (6 * 25 + 6) + 4 * 10 * 32 * 32 + 4 * 10 * 6 * 28 * 28
    copies = 4 * (6 * 25 + 6) + 4 * 10 * 32 * 32 + 4 * 10 * 8 * 28 * 28
    assert count_needed_bytes(profile) == held + copies
