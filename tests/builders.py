"""Small profiles built by hand: every number in them can be checked on paper."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from archprof.facts.measured import Kernel, Latency, MeasuredMemory, Measurement, Timing
from archprof.facts.overlays import Outside, RowKey
from archprof.facts.records import (
    Call,
    Failure,
    Layer,
    Module,
    Op,
    Parameter,
    Profile,
    Ran,
    Signature,
    Storage,
    Tensor,
    TensorSpec,
)


def spec(*shape: int, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(shape, dtype)


def make_op(
    name: str, call: int, phase: str, inputs: tuple, outputs: tuple, macs: int | None, flops: int | None,
    bytes_read: int = 0, bytes_written: int = 0, status: str = "counted", window: object = None, args: tuple = (),
) -> Op:  # fmt: skip
    """An op that shares its signature with none, in the order in which a reader thinks of it."""
    costs = {"macs": macs, "flops": flops, "bytes_read": bytes_read, "bytes_written": bytes_written}
    return Op(Signature(name, args, **costs, status=status, window=window), call, phase, inputs, outputs)


def make_tree(layers: Sequence[Layer]) -> dict[str, tuple]:
    """Modules, parameters and calls of which these are the rows; who made a call is the nearest less deep one above."""
    kinds = {layer.path: layer.kind for layer in reversed(layers)}
    paths = list(dict.fromkeys(layer.path for layer in layers))
    calls: list[Call] = []
    callers: list[int] = []
    for layer in layers:
        if layer.call is not None:
            del callers[layer.depth :]
            caller = callers[-1] if callers else None
            callers.append(len(calls))
            calls.append(Call(paths.index(layer.path), caller, layer.call, layer.inputs, layer.outputs))
    return {
        "modules": tuple(Module(path, kinds[path], find_holder(path, paths)) for path in paths),
        "parameters": tuple(one for layer in layers if not layer.call for one in stand_ins(layer, paths)),
        "calls": tuple(calls),
    }


def find_holder(path: str, paths: list[str]) -> int | None:
    above = path.rpartition(".")[0]
    return None if not path else paths.index(above) if above in paths else find_holder(above, paths)


def stand_ins(layer: Layer, paths: list[str]) -> Iterator[Parameter]:
    """One tensor each for what is trained, what is frozen and the buffers; the first has the bytes of both."""
    counts = {"trained": layer.trainable, "frozen": layer.params - layer.trainable, "buffers": layer.buffers}
    sizes = {"trained": layer.param_bytes, "frozen": 0, "buffers": layer.buffer_bytes}
    if not layer.trainable:
        sizes |= {"trained": 0, "frozen": layer.param_bytes}
    for what, count in counts.items():
        if count or sizes[what]:
            role = "buffer" if what == "buffers" else "parameter"
            name = f"{layer.path}.{what}".lstrip(".")
            yield Parameter(name, paths.index(layer.path), spec(count), what == "trained", role, sizes[what])


def make_profile(
    model: str, inputs: tuple, batch: int, mode: str, dtype: str, layers: Sequence[Layer], ops: tuple, tensors: tuple,
    storages: tuple, **more: object,
) -> Profile:  # fmt: skip
    """A profile whose rows are `layers`; its ops are charged to calls, which are the rows that have one, in order."""
    tree = make_tree(layers)
    return Profile(model, inputs, batch, mode, dtype, **tree, ops=ops, tensors=tensors, storages=storages, **more)


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
    """The profile of `LAYERS` and `WORK`; `changes` replace its fields, or its `layers`. It holds its invariants."""
    ops, tensors, storages = [], [Tensor(IMAGE, 0)], [Storage(768, "float32", "input", None, None)]
    for name, layer, macs, flops, elements in WORK:
        made = ()
        if elements:
            storages.append(Storage(4 * elements, "float32", "activation", len(ops), None))
            tensors.append(Tensor(LAYERS[layer].outputs[0], len(storages) - 1))
            made = (len(tensors) - 1,)
        ops.append(make_op(name, layer, "forward", (0,), made, macs, flops, 768, 4 * elements, "counted"))
    built = make_profile(
        "net", ("3x8x8",), 1, "forward", "float32", LAYERS, tuple(ops), tuple(tensors), tuple(storages),
        notes=("Built by hand.",),
    )  # fmt: skip
    if "layers" in changes:
        changes |= make_tree(changes.pop("layers"))
    built = dataclasses.replace(built, **changes)
    built.check()
    return built


def with_unknown() -> Profile:
    """The same, with an op of conv2 that no rule covers."""
    base = profile()
    made = len(base.tensors) - 1
    ops = (*base.ops, make_op("aten.mystery", 4, "forward", (0,), (made,), None, None, 0, 0, "unknown"))
    return profile(ops=ops)


def stopped() -> Profile:
    """The same, but conv2 raised."""
    base = profile()
    kept = tuple(op for op in base.ops if op.call in (2, 3))
    storages = base.storages[:2]
    failure = Failure(4, "RuntimeError", "expected 4 channels,\n  got 3")
    return profile(ops=kept, layers=LAYERS[:5], tensors=base.tensors[:2], storages=storages, failure=failure)


def trained() -> Profile:
    """The same in train mode: each convolution costs twice its forward again on the way back."""
    base = profile()
    back = [
        make_op("aten.convolution_backward", op.call, "backward", (0,), (), 2 * op.macs, 2 * op.flops, 8, 8, "counted")
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


def timing(key: RowKey, *milliseconds: float) -> Timing:
    """One sample per round."""
    return Timing(key, tuple((1e-3 * value,) for value in milliseconds))


LATENCY = Latency(
    method="cpu",
    layers=(
        timing(1, 2, 2, 2),
        timing(2, 10.04, 9.95, 10.15),
        timing(3, 0.0002, 0.0001, 0.0003),
        timing(4, 20, 18, 21),
        timing(5, 1, 1, 1),
        timing(6, 5, 5, 5),
    ),
    rest=(
        timing(Outside.BETWEEN_LAYERS, 0.5, 0.5, 0.5),
        timing(Outside.OUTSIDE_MODULES, 0, 0, 0),
        timing(Outside.UNATTRIBUTED, 1.46, 2.3, 1),
    ),
    whole=timing(Outside.WHOLE, 40, 39, 41),
    overhead=1e-6,
)
"""Three rounds: the rows but the unattributed take 38.5402 ms of 40 ms; the first relu less than a mark can tell."""


def measured(**changes: object) -> Profile:
    """The same profile, measured on a CPU; `changes` replace the fields of its measurement, or of its `ran`."""
    ran = {name: changes.pop(name) for name in [*changes] if name in Ran.__dataclass_fields__}
    measurement = Measurement(
        ran=dataclasses.replace(Ran("cpu", "Test CPU", threads=2), **ran),
        mode="forward",
        latencies=(LATENCY,),
        memory=(MeasuredMemory(1, 3072), MeasuredMemory(2, 1024), MeasuredMemory(6, 40)),
        memory_whole=MeasuredMemory(Outside.WHOLE, 4096),
        warmup_passes=5,
        warmup_seconds=0.2,
        first_call_seconds=0.12,
    )
    return profile(overlays=(dataclasses.replace(measurement, **changes),))


def on_gpu(**changes: object) -> Profile:
    """The same on a GPU, with three methods: in context 4 ms a row, as users run it 10 ms, kernels 3 ms of that."""
    called = [index for index, layer in enumerate(LAYERS) if layer.call is not None and layer.params]

    def latency(method: str, each: float, **more: object) -> Latency:
        rows = tuple(timing(call, each, each, each) for call in called)
        return Latency(method, rows, (), timing(Outside.WHOLE, 3 * each, 3 * each, 3 * each), **more)

    kernels = {call: (Kernel("gemm", 1, 2e-3), Kernel("bias", 2, 1e-3)) for call in called}
    memory = MeasuredMemory(Outside.WHOLE, 4096, 2**21)
    ways = (latency("gpu", 4), latency("eager", 10), latency("kernel", 3, kernels=kernels))
    given = {"device": "cuda", "device_name": "NVIDIA H200"}
    given |= {"latencies": ways, "memory": (), "memory_whole": memory}
    return measured(**{**given, **changes})


def change_op(op: Op, **changes: object) -> Op:
    """An op with another signature."""
    return op._replace(signature=op.signature._replace(**changes))


def name_rows(profile: Profile) -> dict[RowKey, tuple[str, int | None]]:
    """What a reader calls the rows of an overlay: path and number of a call, "(whole)" and its like."""
    called = {layer.call_index: (layer.path, layer.call) for layer in profile.layers if layer.call is not None}
    return {one: (f"({one.value})", None) for one in Outside} | called
