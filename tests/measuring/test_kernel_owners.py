"""From kernels to layers: on a recorded training step, and on traces written by hand."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import record_trace
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import archprof
from archprof.facts.measured import Kernel
from archprof.facts.overlays import Outside
from archprof.measuring.boundaries import ModuleMarking
from archprof.measuring.profiled import profiler
from archprof.measuring.profiled.kernel_owners import (
    ChargedWork,
    WorkAttribution,
    collect_kernels,
    sum_seconds_by_row,
)
from archprof.measuring.profiled.profiler import ProfiledSampler
from archprof.measuring.profiled.profiler_trace import DeviceWork, parse_trace
from archprof.measuring.protocols import Unmeasurable

RECORDED = Path(__file__).parents[1] / "data" / "kineto-cpu-train.json"

NODE = "autograd::engine::evaluate_function: "

BACKWARD = [
    ("MeanBackward0", Outside.OUTSIDE_MODULES),
    ("ExpBackward0", Outside.OUTSIDE_MODULES),
    ("AddmmBackward0", ("last", 0)),
    ("TBackward0", ("last", 0)),
    ("AddBackward0", ("", 0)),
    ("TanhBackward0", ("act", 0)),
    ("AddmmBackward0", ("twice", 1)),
    ("TBackward0", ("twice", 1)),
    ("AddmmBackward0", ("twice", 0)),
    ("TBackward0", ("twice", 0)),
    ("SigmoidBackward0", ("first", 0)),
    ("AddmmBackward0", ("first.linear", 0)),
    ("TBackward0", ("first.linear", 0)),
]
"""The autograd nodes of `record_trace.Model` and the calls that make them, by the chain rule."""


@pytest.fixture(scope="module", params=["recorded by torch 2.11", "by the torch of this test"])
def attribution(request: pytest.FixtureRequest) -> WorkAttribution:
    if request.param.startswith("recorded"):
        text, rows = record_trace.load(RECORDED)
    else:
        trace = record_trace.record()
        text, rows = json.dumps(trace), record_trace.read_rows(trace)
    return WorkAttribution(parse_trace(text), rows)


def spans(attribution: WorkAttribution) -> list[Any]:
    return [span for thread in attribution.trace.spans.values() for span in thread]


def rows_of(attribution: WorkAttribution, name: str) -> list[Any]:
    return [attribution.find_row((span.thread, span.start)) for span in spans(attribution) if span.name == name]


def test_forward_ops_belong_to_the_call_that_ran_them(attribution):
    calls = [("first.linear", 0), ("twice", 0), ("twice", 1), ("last", 0)]
    assert rows_of(attribution, "aten::addmm") == calls * 2
    assert rows_of(attribution, "aten::sigmoid") == [("first", 0)] * 2
    assert rows_of(attribution, "aten::argmax") == [("first", 0)] * 2
    assert rows_of(attribution, "aten::tanh") == [("act", 0)] * 2
    assert rows_of(attribution, "aten::exp") == [Outside.OUTSIDE_MODULES] * 2


def test_backward_nodes_belong_to_the_call_that_made_them(attribution):
    nodes = [span for span in spans(attribution) if span.name.startswith(NODE) and "Accumulate" not in span.name]
    found = Counter((span.name.removeprefix(NODE), attribution.find_row((span.thread, span.start))) for span in nodes)
    assert found == Counter(BACKWARD * 2)


def test_a_layer_after_one_that_ends_without_a_node_keeps_its_backward(attribution):
    """argmax has the sequence number of the node that `twice` makes first: torch's own rule would name `first`."""
    [argmax, *_] = [span for span in spans(attribution) if span.name == "aten::argmax"]
    same = [span.name for span in spans(attribution) if span.sequence == argmax.sequence]
    assert NODE + "TBackward0" in same
    assert same[0] == "aten::argmax"
    [node, *_] = [s for s in spans(attribution) if s.sequence == argmax.sequence and s.name == NODE + "TBackward0"]
    assert attribution.find_row((node.thread, node.start)) == ("twice", 0)


def test_gradients_are_added_up_outside_the_layers(attribution):
    # Eight uses of the six weights and biases of three layers, of which `twice` is used two times but adds once: each
    # parameter has one node that accumulates.
    assert rows_of(attribution, NODE + "torch::autograd::AccumulateGrad") == [Outside.GRADIENT_ACCUMULATION] * 6 * 2


def test_the_step_of_the_optimizer_is_its_own(attribution):
    assert rows_of(attribution, "Optimizer.step#SGD.step") == [Outside.OPTIMIZER_STEP] * 2


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32))
def test_every_kernel_is_charged_once(seed):
    """Each op of the recorded step launches a kernel; the sum over the rows is the sum of the kernels."""
    text, rows = record_trace.load(RECORDED)
    trace = json.loads(text)
    random = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 10**6, (len(trace["traceEvents"]),), generator=random).tolist()
    ops = [event for event in trace["traceEvents"] if event["name"].startswith("aten::")]
    for number, (op, length) in enumerate(zip(ops, lengths, strict=False)):
        event = kernel("k", op["ts"] + 5000, length / 1000, External=op["args"]["External id"], correlation=number)
        trace["traceEvents"].append(event)
    charged = WorkAttribution(parse_trace(json.dumps(trace)), rows).charge_work()
    assert len(charged) == len(ops)
    total = sum(sum(sum_seconds_by_row(charged, turn).values()) for turn in (0, 1))
    assert total == pytest.approx(sum(lengths[: len(ops)]) / 1e9, rel=1e-12)
    assert Outside.UNATTRIBUTED not in {one.row for one in charged}


# Traces written by hand, in the format of Kineto: microseconds; GPU events have their device as pid, stream as tid.


def kernel(name: str, ts: float, dur: float, *, cat: str = "kernel", stream: int = 7, **args: Any) -> dict[str, Any]:
    numbers = {"External id" if key == "External" else key: value for key, value in args.items()}
    return {"ph": "X", "cat": cat, "name": name, "pid": 0, "tid": stream, "ts": ts, "dur": dur, "args": numbers}


def host(name: str, ts: float, dur: float, *, tid: int = 11, cat: str = "cpu_op", **args: Any) -> dict[str, Any]:
    names = {"external": "External id", "sequence": "Sequence number", "forward": "Fwd thread id"}
    numbers = {names.get(key, key): value for key, value in args.items()}
    return {"ph": "X", "cat": cat, "name": name, "pid": 99, "tid": tid, "ts": ts, "dur": dur, "args": numbers}


def arrow(number: int, start: tuple[int, float], end: tuple[int, float]) -> list[dict[str, Any]]:
    made = {"cat": "fwdbwd", "name": "fwdbwd", "id": number, "pid": 99}
    return [{"ph": ph, "tid": place[0], "ts": place[1], **made} for ph, place in (("s", start), ("f", end))]


A, B = ("a", 0), ("b", 0)
FORWARD = [
    host("archprof pass", 0, 1000, external=1),
    host("archprof mark 0", 10, 1, external=2),
    host("aten::mm", 12, 8, external=3, sequence=40),
    host("archprof mark 1", 20, 1, external=4),
    host("aten::mul", 22, 8, external=5, sequence=41),
    host("archprof mark 2", 30, 1, external=6),
    host("aten::sum", 32, 6, external=7, sequence=42),
]
"""Marks 0, 1 and 2 begin a, b and what is outside."""
ROWS = [A, B, None]


def charge(*events: dict[str, Any], rows: list[Any] = ROWS) -> list[ChargedWork]:
    text = json.dumps({"traceEvents": [*FORWARD, *events]})
    return WorkAttribution(parse_trace(text), rows).charge_work()


def by_kernel(charged: list[ChargedWork]) -> dict[str, Any]:
    return {one.work.name: one.row for one in charged}


def test_a_kernel_is_led_back_by_the_number_of_its_op():
    charged = charge(
        kernel("sgemm", 100, 5, External=3, correlation=1),
        kernel("mul", 105, 2, External=5, correlation=2),
        kernel("sum", 107, 1, External=7, correlation=3),
    )
    assert by_kernel(charged) == {"sgemm": A, "mul": B, "sum": Outside.OUTSIDE_MODULES}


def test_a_kernel_is_led_back_by_its_launch():
    charged = charge(
        host("cudaLaunchKernel", 15, 2, cat="cuda_runtime", correlation=1, external=3),  # which names the op
        kernel("by the number of the launch", 100, 5, correlation=1),
        host("cuLaunchKernelEx", 24, 2, cat="cuda_driver", correlation=2),  # as Triton launches
        kernel("by the time of the launch", 105, 2, correlation=2),
        host("cudaMemcpyAsync", 34, 2, cat="cuda_runtime", correlation=3),
        kernel("Memcpy HtoD", 107, 2, cat="gpu_memcpy", correlation=3),
        host("cudaMemsetAsync", 16, 2, cat="cuda_runtime", correlation=4),
        kernel("Memset (Device)", 99, 1, cat="gpu_memset", correlation=4),
    )
    assert by_kernel(charged) == {
        "by the number of the launch": A,
        "by the time of the launch": B,
        "Memcpy HtoD": Outside.OUTSIDE_MODULES,
        "Memset (Device)": A,
    }


def test_a_kernel_that_no_op_launched_is_led_back_by_its_launch():
    """Its number is that of the range around the whole pass."""
    charged = charge(
        host("cudaLaunchKernel", 25, 2, cat="cuda_runtime", correlation=1, external=1),
        kernel("spin", 100, 5, correlation=1, External=1),
    )
    assert by_kernel(charged) == {"spin": B}


def test_a_launch_on_a_thread_under_another_number_is_led_back_by_its_op():
    charged = charge(
        host("cudaLaunchKernel", 15, 2, tid=140_000_000_000, cat="cuda_runtime", correlation=1, external=3),
        kernel("sgemm", 100, 5, correlation=1),
    )
    assert by_kernel(charged) == {"sgemm": A}


def test_what_leads_nowhere_is_said_so():
    charged = charge(
        kernel("no numbers at all", 100, 5),
        kernel("a number of nothing", 105, 5, External=777, correlation=888),
        host("cudaLaunchKernel", 15, 2, tid=55, cat="cuda_runtime", correlation=1),
        kernel("from a strange thread", 110, 5, correlation=1),
    )
    assert set(by_kernel(charged).values()) == {Outside.UNATTRIBUTED}
    assert len(charged) == 3


def test_annotations_and_overhead_are_no_kernels():
    charged = charge(
        kernel("sgemm", 100, 5, External=3, correlation=1),
        kernel("archprof pass", 100, 50, cat="gpu_user_annotation", External=1),
        kernel("Activity Buffer Request", 100, 17, cat="overhead", External=3),
        kernel("cudaEventSynchronize", 100, 3, cat="cuda_sync", correlation=9),
    )
    assert [one.work.nanoseconds for one in charged] == [5000]


def test_a_record_that_comes_twice_counts_once():
    one = kernel("sgemm", 100, 5, External=3, correlation=1)
    again = kernel("sgemm", 105, 5, External=3, correlation=1)  # another run in a graph has the same number
    assert len(charge(one, dict(one), again)) == 2


def test_the_backward_thread_is_led_back_to_the_forward_thread():
    charged = charge(
        host("autograd::engine::evaluate_function: MulBackward0", 200, 20, tid=12, external=20, sequence=41, forward=1),
        host("MulBackward0", 202, 16, tid=12, external=21, sequence=41, forward=1),
        host("aten::mul", 204, 10, tid=12, external=22),
        kernel("mul backward", 300, 5, External=22, correlation=5),
        host("autograd::engine::evaluate_function: torch::autograd::AccumulateGrad", 230, 20, tid=12, external=30),
        host("torch::autograd::AccumulateGrad", 231, 18, tid=12, external=31),
        host("aten::add_", 232, 9, tid=12, external=32),
        kernel("add", 310, 5, External=32, correlation=6),
        host("autograd::engine::evaluate_function: GoneBackward0", 260, 9, tid=12, external=40, sequence=9, forward=1),
        kernel("of an op before the session", 320, 5, External=40, correlation=7),
    )
    assert by_kernel(charged) == {
        "mul backward": B,
        "add": Outside.GRADIENT_ACCUMULATION,
        "of an op before the session": Outside.UNATTRIBUTED,
    }


def test_the_last_op_with_a_number_made_the_node():
    charged = charge(
        host("aten::argmax", 21.2, 0.5, external=8, sequence=42),  # in b; the node 42 is made later, by aten::sum
        host("autograd::engine::evaluate_function: SumBackward0", 200, 20, tid=12, external=20, sequence=42, forward=1),
        kernel("sum backward", 300, 5, External=20, correlation=5),
    )
    assert by_kernel(charged) == {"sum backward": Outside.OUTSIDE_MODULES}


def test_two_forward_threads_have_numbers_of_their_own():
    second = [
        host("archprof mark 3", 510, 1, tid=13, external=50),
        host("aten::relu", 512, 5, tid=13, external=51, sequence=41),  # as aten::mul in thread 11
    ]
    node = "autograd::engine::evaluate_function: "
    backward = [
        host(node + "MulBackward0", 600, 9, tid=12, external=60, sequence=41, forward=1),
        host("MulBackward0", 601, 7, tid=12, external=61, sequence=41, forward=1),
        host(node + "ReluBackward0", 620, 9, tid=12, external=62, sequence=41, forward=2),
        host("ReluBackward0", 621, 7, tid=12, external=63, sequence=41, forward=2),
        *arrow(1, (11, 22), (12, 601)),
        *arrow(2, (13, 512), (12, 621)),
    ]
    kernels = [kernel("mul", 700, 1, External=61), kernel("relu", 701, 1, External=63)]
    charged = charge(*second, *backward, *kernels, rows=[*ROWS, ("c", 0)])
    assert by_kernel(charged) == {"mul": B, "relu": ("c", 0)}


def test_a_module_that_runs_again_in_the_backward_pass_has_its_work():
    """As checkpointing does: its marks stand inside the node, on the thread of the backward pass."""
    charged = charge(
        host("autograd::engine::evaluate_function: MulBackward0", 200, 90, tid=12, external=20, sequence=41, forward=1),
        host("archprof mark 3", 210, 1, tid=12, external=21),
        host("aten::mm", 212, 5, tid=12, external=22, sequence=7),
        host("archprof mark 4", 220, 1, tid=12, external=23),
        kernel("again", 300, 5, External=22),
        host("autograd::engine::evaluate_function: MmBackward0", 295, 9, tid=12, external=30, sequence=40, forward=1),
        kernel("of the next node", 310, 5, External=30),
        rows=[*ROWS, ("a", 0), ("b", 0)],
    )
    assert by_kernel(charged) == {"again": A, "of the next node": A}


def test_passes_are_told_apart():
    charged = charge(
        host("archprof pass", 2000, 900, external=90),
        host("archprof mark 3", 2010, 1, external=91),
        host("aten::mm", 2012, 9, external=92, sequence=60),
        kernel("sgemm", 900, 5, External=3, correlation=1),
        kernel("sgemm", 2500, 7, External=92, correlation=2),
        kernel("split", 2507, 1, External=92, correlation=3),
        kernel("split", 2508, 1, External=92, correlation=4),
        rows=[*ROWS, A],
    )
    assert [one.pass_index for one in charged] == [0, 1, 1, 1]
    assert sum_seconds_by_row(charged, 0) == {A: pytest.approx(5e-6)}
    assert sum_seconds_by_row(charged, 1) == {A: pytest.approx(9e-6)}
    assert collect_kernels(charged, [1]) == {
        A: (Kernel("sgemm", 1, pytest.approx(7e-6)), Kernel("split", 2, pytest.approx(2e-6)))
    }
    [first, second] = collect_kernels(charged, [0, 1])[A]
    assert first == Kernel("sgemm", 1, pytest.approx(6e-6))  # the average pass
    assert second.seconds == pytest.approx(1e-6)


def test_large_time_stamps_keep_their_nanoseconds():
    """Since 1970 or since boot: more digits than a float has."""
    text = json.dumps({"traceEvents": [kernel("k", 0, 0.001, External=1)]}).replace(
        '"ts": 0', '"ts": 1790857026000000.123'
    )
    [work] = parse_trace(text).work
    assert (work.start, work.nanoseconds) == (1790857026000000123, 1)


def charged_by_hand(turn: int) -> list[ChargedWork]:
    def work(row: Any, nanoseconds: int) -> ChargedWork:
        return ChargedWork(turn, row, DeviceWork("k", 0, 7, 0, nanoseconds, None, None))

    return [work(("1.inner", 0), 100 * (turn + 1)), work(("", 0), 7), work(Outside.UNATTRIBUTED, 3)]


def profiled(monkeypatch: pytest.MonkeyPatch, charged: list[ChargedWork]) -> tuple[ProfiledSampler, list[int]]:
    model = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Sequential(torch.nn.Tanh()))
    sessions: list[int] = []

    def session(subject: Any, rows: Any, synchronize: Any, passes: int) -> list[ChargedWork]:
        sessions.append(passes)
        return charged

    monkeypatch.setattr(profiler, "profile_passes", session)
    sampler = ProfiledSampler(None, ModuleMarking(archprof.profile(model, torch.zeros(2))), lambda: None)  # type: ignore[arg-type]
    return sampler, sessions


def test_one_session_serves_seven_samples(monkeypatch):
    charged = [one._replace(row=("1.0", 0)) if one.row == ("1.inner", 0) else one for turn in range(8)
               for one in charged_by_hand(turn)]  # fmt: skip
    sampler, sessions = profiled(monkeypatch, charged)
    samples = [sampler.sample() for _ in range(7)]
    assert sessions == [8]
    assert [sample["1.0", 0] for sample in samples] == pytest.approx([turn * 1e-7 for turn in range(2, 9)])
    for sample in samples:
        assert sample[Outside.BETWEEN_LAYERS] == pytest.approx(7e-9)  # a kernel of a container without ops of its own
        assert sample["0", 0] == 0.0  # it was called, and had no kernel
        assert Outside.UNATTRIBUTED not in sample
    assert sampler.notes == ["Kernels that lead back to no layer stand under (unattributed): k."]
    assert sampler.kernels["1.0", 0] == (Kernel("k", 1, pytest.approx(5e-7)),)
    sampler.sample()
    assert len(sessions) == 2


def test_a_profiler_that_sees_nothing_gives_no_number(monkeypatch):
    sampler, _ = profiled(monkeypatch, [])
    with pytest.raises(Unmeasurable, match="saw nothing"):
        sampler.sample()


def test_another_profiler_is_left_alone():
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]), pytest.raises(Unmeasurable):
        profiler.profile_passes(None, None, lambda: None, 1)  # type: ignore[arg-type]


def test_a_trace_that_cannot_be_read_is_no_measurement(monkeypatch):
    monkeypatch.setattr(profiler, "record_trace", lambda *_: ('{"traceEvents": [', []))
    with pytest.raises(Unmeasurable, match="cannot be read"):
        profiler.profile_passes(None, None, lambda: None, 1)  # type: ignore[arg-type]
