"""What a device can do at most, measured: the roofs that predictions are held under.

A copy tells the bandwidth of memory, products of large matrices the arithmetic of each dtype, the smallest op what
starting one costs, and bare marks what a mark costs. All data is random: zeros need less power and run faster.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

import torch

from archprof.measuring.cuda import CudaDevice
from archprof.measuring.protocols import Device

ROUNDS, ROUND_SECONDS, WARM_UP_SECONDS = 7, 0.1, 0.5

COPIED = 2**29
"""Bytes of the tensor that is copied, many times any cache; a quarter of the free memory where that is less."""

LONG_ENOUGH = 5e-3
"""Seconds of one matrix product, from where on its rate no longer rises; matrices grow until then ..."""

SMALLEST, LARGEST = 256, 8192
"""... but have at least and at most so many rows and columns."""

DTYPES = ("float32", "float16", "bfloat16", "float64")

LAUNCHES, MARKS = 2000, 200


@dataclass(frozen=True)
class Rate:
    """Something per second: the median of the rounds, the least and the greatest of them."""

    p50: float
    low: float
    high: float


@dataclass(frozen=True)
class Calibration:
    """The roofs of one device.

    Attributes:
        device, name: "cuda" or "cpu", and what it calls itself.
        copy_bytes_per_second: read and written together.
        matmul_flop_per_second: by dtype, 2 operations a multiply-accumulate; a dtype that does not run is left out.
        matmul_size: rows and columns of the square matrices, by dtype.
        launch_seconds: from one small op to the next, for the host.
        mark_seconds: what one mark adds to the time between two others.
        environment: the state of the machine, just after the products.
    """

    device: str
    name: str
    copy_bytes_per_second: Rate
    matmul_flop_per_second: dict[str, Rate]
    matmul_size: dict[str, int]
    launch_seconds: Rate
    mark_seconds: float
    environment: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As it is written to a file: plain numbers in base units."""
        return {"schema": 1, **asdict(self)}


def calibrate(where: Device, now: Callable[[], float] = time.perf_counter) -> Calibration:
    """Measure the roofs of a device; about ten seconds."""
    with torch.inference_mode(), where.settings():
        copy = _copy(where)
        products = {dtype: found for dtype in DTYPES if (found := _product(where, dtype)) is not None}
        environment = where.environment()
        return Calibration(
            where.kind,
            where.name,
            copy,
            {dtype: rate for dtype, (_, rate) in products.items()},
            {dtype: size for dtype, (size, _) in products.items()},
            _launch(where, now),
            mark_seconds(where),
            environment,
        )


def _copy(where: Device) -> Rate:
    free = where.free_bytes()
    nbytes = COPIED if free is None else min(COPIED, free // 4)
    source = torch.randn(nbytes // 4, device=where.kind)
    target = torch.empty_like(source)
    return rate(where, lambda: target.copy_(source), 2 * source.nbytes)


def _product(where: Device, dtype: str) -> tuple[int, Rate] | None:
    """The size of the matrices and the rate of their product; `None` where the device has no such product."""
    size = SMALLEST
    try:
        multiply = _multiply(where, dtype, size)
        while size < LARGEST and _once(where, multiply) < LONG_ENOUGH:
            size *= 2
            multiply = _multiply(where, dtype, size)
    except RuntimeError:
        return None
    return size, rate(where, multiply, 2 * size**3)


def _multiply(where: Device, dtype: str, size: int) -> Callable[[], Any]:
    """A product of two matrices, run once already."""
    a, b = (torch.randn(size, size, device=where.kind, dtype=getattr(torch, dtype)) for _ in range(2))
    out = a @ b
    return lambda: torch.mm(a, b, out=out)


def rate(where: Device, work: Callable[[], Any], amount: float) -> Rate:
    """How much `work` does a second if it does `amount` a time: warmed up, in rounds."""
    once = _once(where, work)
    _time(where, work, _times(WARM_UP_SECONDS, once))
    repeats = _times(ROUND_SECONDS, once)
    rates = [amount * repeats / _time(where, work, repeats) for _ in range(ROUNDS)]
    return Rate(statistics.median(rates), min(rates), max(rates))


def _once(where: Device, work: Callable[[], Any]) -> float:
    return min(_time(where, work, 1) for _ in range(4))


def _times(wanted: float, once: float) -> int:
    """How often something must run to fill a time."""
    return max(1, math.ceil(wanted / once)) if once > 0 else 1000


def _time(where: Device, work: Callable[[], Any], repeats: int) -> float:
    clock = where.clock()
    start = clock.mark()
    for _ in range(repeats):
        work()
    end = clock.mark()
    clock.settle()
    return clock.seconds(start, end)


def _launch(where: Device, now: Callable[[], float]) -> Rate:
    """Seconds from one small op to the next on the host, which a GPU does while the host gives the next."""
    tensor = torch.zeros(1, device=where.kind)

    def launched() -> float:
        start = now()
        for _ in range(LAUNCHES):
            tensor.add_(1)
        where.synchronize()
        return (now() - start) / LAUNCHES

    launched()
    each = [launched() for _ in range(ROUNDS)]
    return Rate(statistics.median(each), min(each), max(each))


def mark_seconds(where: Device) -> float:
    """The time between two marks with nothing between them: on a GPU inside a graph, where the host plays no part."""
    clock = where.clock()
    marks: list[Any] = []

    def run() -> None:
        marks[:] = [clock.mark() for _ in range(MARKS)]

    if isinstance(where, CudaDevice):
        graph = where.gpu.capture(run, clock.settle)
        graph.replay()
        where.synchronize()
    else:
        run()
        clock.settle()
    return statistics.median(clock.seconds(one, following) for one, following in pairwise(marks))
