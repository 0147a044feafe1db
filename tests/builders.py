"""Small profiles built by hand: every number in them can be checked on paper."""

from __future__ import annotations

import dataclasses

from archprof.facts.measured import Kernel, Latency, MeasuredMemory, Measurement, Timing
from archprof.facts.records import Failure, Layer, Op, Profile, Storage, Tensor, TensorSpec


def spec(*shape: int, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(shape, dtype)


IMAGE, MAP, VECTOR = spec(1, 3, 8, 8), spec(1, 4, 8, 8), spec(1, 10)

LAYERS = (
    Layer("", "Net", 0, 0, (IMAGE,), (VECTOR,)),
    Layer("block", "Residual", 1, 0, (IMAGE,), (MAP,)),
    Layer("block.conv1", "Conv2d", 2, 0, (IMAGE,), (MAP,), 112, 112, 0, 448, 0),
    Layer("block.relu", "ReLU", 2, 0, (MAP,), (MAP,)),
    Layer("block.conv2", "Conv2d", 2, 0, (MAP,), (MAP,), 148, 0, 0, 592, 0),
    Layer("block.relu", "ReLU", 2, 1, (MAP,), (MAP,)),
    Layer("fc", "Linear", 1, 0, (spec(1, 256),), (VECTOR,), 2570, 2570, 7, 10280, 28),
    Layer("aux", "Linear", 1, None, (), (), 30, 30, 0, 120, 0),
)
"""Root, container, two convolutions (the second frozen), a relu called twice, a linear, one never called.

conv1 is 3 -> 4 channels, 3x3, on 8x8: 4*(3*9+1) = 112 parameters, 256*27 = 6,912 MACs, 2*6,912 + 256 FLOPs.
conv2 is 4 -> 4 channels: 148 parameters, 256*36 = 9,216 MACs. fc is 256 -> 10 with bias: 2,560 MACs.
"""

WORK = (
    ("aten.convolution", 2, 6912, 14080, 256),
    ("aten.relu_", 3, 0, 256, 0),
    ("aten.convolution", 4, 9216, 18688, 256),
    ("aten.relu_", 5, 0, 256, 0),
    ("aten.add", 1, 0, 256, 256),
    ("aten.addmm", 6, 2560, 5130, 10),
)
"""Name, layer, MACs, FLOPs and elements of new output, one line an op; the add is the container's own."""


def profile(**changes: object) -> Profile:
    """The profile of `LAYERS` and `WORK`; `changes` replace its fields. It holds its invariants."""
    ops, tensors, storages = [], [Tensor(IMAGE, 0)], [Storage(768, "float32", "input", None, None)]
    for name, layer, macs, flops, elements in WORK:
        made = ()
        if elements:
            storages.append(Storage(4 * elements, "float32", "activation", len(ops), None))
            tensors.append(Tensor(LAYERS[layer].outputs[0], len(storages) - 1))
            made = (len(tensors) - 1,)
        ops.append(Op(name, layer, "forward", (0,), made, macs, flops, 768, 4 * elements, "counted"))
    built = Profile(
        "net", ("3x8x8",), 1, "forward", "float32", LAYERS, tuple(ops), tuple(tensors), tuple(storages),
        notes=("Built by hand.",),
    )  # fmt: skip
    built = dataclasses.replace(built, **changes)
    built.check()
    return built


def with_unknown() -> Profile:
    """The same, with an op of conv2 that no rule covers."""
    base = profile()
    made = len(base.tensors) - 1
    ops = (*base.ops, Op("aten.mystery", 4, "forward", (0,), (made,), None, None, 0, 0, "unknown"))
    return profile(ops=ops)


def stopped() -> Profile:
    """The same, but conv2 raised."""
    base = profile()
    kept = tuple(op for op in base.ops if op.layer in (2, 3))
    storages = base.storages[:2]
    failure = Failure(4, "RuntimeError", "expected 4 channels,\n  got 3")
    return profile(ops=kept, layers=LAYERS[:5], tensors=base.tensors[:2], storages=storages, failure=failure)


def trained() -> Profile:
    """The same in train mode: each convolution costs twice its forward again on the way back."""
    base = profile()
    back = [
        Op("aten.convolution_backward", op.layer, "backward", (0,), (), 2 * op.macs, 2 * op.flops, 8, 8, "counted")
        for op in base.ops
        if op.name == "aten.convolution"
    ]
    return profile(ops=(*base.ops, *back), mode="train")


HOSTILE = ("</script><img onerror=alert(1)>", "[bold]x", "a|b", "x_{1}$&%#~^\\", "line\nbreak", "\x1b[31mred\x1b[0m")
"""Names that would break a format that does not escape them."""


def hostile() -> Profile:
    """A layer of each hostile name, which is also its class."""
    layers = (Layer("", "Net", 0, 0), *(Layer(name, name, 1, 0, (IMAGE,), (MAP,), 5, 5) for name in HOSTILE))
    return profile(layers=layers, ops=(), tensors=(), storages=(), model=HOSTILE[0], notes=HOSTILE)


def timing(path: str, call: int | None, *milliseconds: float) -> Timing:
    """One sample a round."""
    return Timing(path, call, tuple((1e-3 * value,) for value in milliseconds))


LATENCY = Latency(
    method="cpu",
    layers=(
        timing("block", 0, 2, 2, 2),
        timing("block.conv1", 0, 10.04, 9.95, 10.15),
        timing("block.relu", 0, 0.0002, 0.0001, 0.0003),
        timing("block.conv2", 0, 20, 18, 21),
        timing("block.relu", 1, 1, 1, 1),
        timing("fc", 0, 5, 5, 5),
    ),
    rest=(
        timing("(between layers)", None, 0.5, 0.5, 0.5),
        timing("(outside modules)", None, 0, 0, 0),
        timing("(unattributed)", None, 1.46, 2.3, 1),
    ),
    whole=timing("(whole)", None, 40, 39, 41),
    overhead=1e-6,
)
"""Three rounds: the rows but the unattributed take 38.5402 ms of 40 ms; the first relu less than a mark can tell."""


def measured(**changes: object) -> Profile:
    """The same profile, measured on a CPU; `changes` replace the fields of its measurement."""
    memory = (MeasuredMemory("block", 0, 3072), MeasuredMemory("block.conv1", 0, 1024), MeasuredMemory("fc", 0, 40))
    measurement = Measurement(
        device="cpu",
        device_name="Test CPU",
        mode="forward",
        latencies=(LATENCY,),
        memory=memory,
        memory_whole=MeasuredMemory("(whole)", None, 4096),
        warmup_passes=5,
        warmup_seconds=0.2,
        first_call_seconds=0.12,
        environment={"threads": "2"},
    )
    return profile(measurement=dataclasses.replace(measurement, **changes))


def on_gpu(**changes: object) -> Profile:
    """The same on a GPU, with three methods: in context 4 ms a row, as users run it 10 ms, kernels 3 ms of that."""
    called = [(layer.path, layer.call) for layer in LAYERS if layer.call is not None and layer.params]

    def latency(method: str, each: float, **more: object) -> Latency:
        rows = tuple(timing(path, call, each, each, each) for path, call in called)
        return Latency(method, rows, (), timing("(whole)", None, 3 * each, 3 * each, 3 * each), **more)

    kernels = {f"{path}#{call}": (Kernel("gemm", 1, 2e-3), Kernel("bias", 2, 1e-3)) for path, call in called}
    memory = MeasuredMemory("(whole)", None, 4096, 2**21)
    ways = (latency("gpu", 4), latency("eager", 10), latency("kernel", 3, kernels=kernels))
    given = {"device": "cuda", "device_name": "NVIDIA H200", "latencies": ways, "memory": (), "memory_whole": memory}
    return measured(**{**given, **changes})
