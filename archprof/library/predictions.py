"""`archprof.predict` and `predict_memory`: what a model takes on devices that nobody has here.

Importing this imports no torch; a saved profile is predicted without.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from archprof.errors import UnknownName, UsageError
from archprof.facts.request import PassRequest
from archprof.wording import split_words

if TYPE_CHECKING:
    from archprof.analysis.latency import LatencyAnswer
    from archprof.analysis.memory import MemoryAnswer


def predict(
    model: Any, inputs: Any = None, *, device: str | Sequence[str], batch: int | str | Iterable[int] = "1",
    dtype: str | Iterable[str] | None = None, train: bool = False, amp: str | None = None,
    set: Mapping[str, int] | None = None, phase: str | None = None, context: int | None = None,
    optimizer: str | None = None, captured: bool = False, compile: bool = False, channels_last: bool = False,
    tf32: bool | None = None, measured: Sequence[str] | None = None, by: str | None = None,
    price: str | float | Sequence[float] | None = None,
) -> LatencyAnswer:  # fmt: skip
    """How long a pass or a training step takes on devices, without them: a prediction for each, with its interval.

    Args:
        model, inputs, train, amp, set, phase, optimizer: as for `archprof.profile`; a saved profile needs no torch.
        device: names of the catalogue, files of `archprof calibrate`, or "all" GPUs: "t4,4090", ["h100", "mine.json"].
        batch, dtype: one or several: 8, "1,32", ["float32", "float16"].
        context: tokens of a decoder; without a phase both are predicted, the prefill and a token behind it.
        captured: replayed as a CUDA graph, so that no launch waits for the host.
        compile: what `torch.compile` makes of it.
        channels_last: images have their channels last.
        tf32: float32 products are rounded to TF32, or none are; `None`: convolutions alone, as torch does it.
        measured: saved measurements, which correct the prediction on their device.
        by: "layer", "stage" or "kind": the rows of each pass, too.
        price: of an hour on each device, for what a million samples cost: 1.2, or one for each, "0.35,1.2".

    Raises:
        UsageError: a device is not known, or what `archprof.profile` raises.
    """
    from archprof.analysis.latency import ROW_GROUPINGS, LatencyAnswer
    from archprof.predicting import runs
    from archprof.sweeping import latency

    if by is not None and by not in ROW_GROUPINGS:
        raise UnknownName("grouping of predictions", by, ROW_GROUPINGS)
    chosen = runs.choose_devices(device)
    prices = read_prices(price, len(chosen))
    request = PassRequest(1, None, train, "full", set, phase, context, optimizer, amp=amp)
    requests = latency.vary_request(request, read_batches(batch), read_list(dtype) or [None])
    how = runs.RunRequest(captured, compile, channels_last, tf32, tuple(measured or ()))
    passes = latency.predict_grid(model, inputs, requests, [one.device for one in chosen], how)
    notes = tuple(one.note for one in chosen if one.note)
    each = len(passes) // len(chosen)
    return LatencyAnswer(passes, tuple(price for price in prices for _ in range(each)), by, notes)


def predict_memory(
    model: Any, inputs: Any = None, *,
    batch: int = 1, dtype: str | None = None, train: bool = False, amp: str | None = None,
    set: Mapping[str, int] | None = None, phase: str | None = None, context: int | None = None,
    optimizer: str | None = None, accumulate: int = 1, set_to_none: bool = True, checkpoint: Sequence[str] = (),
    device: str | None = None, advise: bool = False,
) -> MemoryAnswer:  # fmt: skip
    """How much memory a pass or a training step takes on a GPU: live, allocated, reserved and device used.

    `device` says whether it fits: a name of the catalogue, or "all"; `advise`: what would lower it; else as `profile`.
    """
    from archprof.analysis.memory import MemoryAnswer
    from archprof.sweeping.memory import predict_run

    request = PassRequest(
        batch, dtype, train, "full", set, phase, context, optimizer, accumulate, set_to_none, amp, checkpoint=checkpoint
    )
    return MemoryAnswer(*predict_run(model, inputs, request, device, advise=advise))


def read_batches(batch: int | str | Iterable[int]) -> list[int]:
    """Batch sizes from 8, "1,32" or [1, 32]; `UsageError` for what is none."""
    words = read_list(batch) if isinstance(batch, str) else [batch] if isinstance(batch, int) else [*batch]
    try:
        return [int(word) for word in words]
    except ValueError:
        raise UsageError(f"{batch!r} is no batch size.", "A number such as 8, or several such as 1,8,64.") from None


def read_list(words: str | Iterable[str] | None) -> list[Any]:
    """The words of "a,b", or of a list of them."""
    if isinstance(words, str):
        return split_words(words)
    return [*(words or ())]


def read_prices(price: str | float | Sequence[float] | None, devices: int) -> list[float]:
    """The price of an hour on each of so many devices, from one for all or one for each; none without any.

    Raises:
        UsageError: it is no number of 0 or more, or there are not as many as devices.
    """
    if price is None:
        return []
    words = price.split(",") if isinstance(price, str) else [price] if isinstance(price, int | float) else [*price]
    try:
        values = [float(word) for word in words]
    except ValueError:
        values = []
    if not values or not all(0 <= value < float("inf") for value in values):
        raise UsageError(f"{price!r} is no price of an hour.", "A number such as 1.2, or one for each device.")
    if len(values) not in (1, devices):
        raise UsageError(f"{len(values)} prices were given for {devices} devices.", "One for all, or one for each.")
    return values * devices if len(values) == 1 else values
