"""What a device can do at most, measured: the roofs that predictions are held under.

A copy tells the bandwidth of memory, products of large matrices the arithmetic of each dtype, the smallest op what
starting one costs, and bare marks what a mark costs. All data is random: zeros need less power and run faster.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch

from archprof.facts.records import Ran
from archprof.facts.store_tables import write_ran
from archprof.measuring.cuda import CudaDevice
from archprof.measuring.protocols import Device

CALIBRATION_ROUNDS, ROUND_SECONDS, WARM_UP_SECONDS = 7, 0.1, 0.5

COPY_BYTES = 2**29
"""Bytes of the tensor that is copied, many times any cache; a quarter of the free memory where that is less."""

MIN_PRODUCT_SECONDS = 5e-3
"""Seconds of one matrix product, from where on its rate no longer rises; matrices grow until then ..."""

MIN_MATRIX_SIZE, MAX_MATRIX_SIZE = 256, 8192
"""... but have at least and at most so many rows and columns."""

CALIBRATED_DTYPES = ("float32", "float16", "bfloat16", "float64")

LAUNCH_COUNT, MARK_COUNT = 2000, 200


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
        matmul_flop_per_second: by dtype, 2 operations per multiply-accumulate; a dtype that does not run is left out.
        matmul_size: rows and columns of the square matrices, by dtype.
        launch_seconds: from one small op to the next, for the host.
        mark_seconds: what one mark adds to the time between two others.
        ran: the state of the machine, just after the products.
    """

    device: str
    name: str
    copy_bytes_per_second: Rate
    matmul_flop_per_second: dict[str, Rate]
    matmul_size: dict[str, int]
    launch_seconds: Rate
    mark_seconds: float
    ran: Ran = Ran()  # noqa: RUF009  frozen

    def to_json(self) -> dict[str, Any]:
        """As it is written to a file: plain numbers in base units."""
        known = asdict(self)
        known.pop("ran")
        return {"schema": 1, **known, "environment": write_ran(self.ran)}


def calibrate_device(where: Device, now: Callable[[], float] = time.perf_counter) -> Calibration:
    """Measure the roofs of a device; about ten seconds."""
    with torch.inference_mode(), where.hold_settings():
        copy = _measure_copy(where)
        products = {
            dtype: found for dtype in CALIBRATED_DTYPES if (found := _measure_product(where, dtype)) is not None
        }
        ran = where.environment()
        return Calibration(
            where.kind,
            where.name,
            copy,
            {dtype: rate for dtype, (_, rate) in products.items()},
            {dtype: size for dtype, (size, _) in products.items()},
            _measure_launch(where, now),
            measure_mark_seconds(where),
            ran,
        )


def _measure_copy(where: Device) -> Rate:
    free = where.free_bytes()
    nbytes = COPY_BYTES if free is None else min(COPY_BYTES, free // 4)
    source = torch.randn(nbytes // 4, device=where.kind)
    target = torch.empty_like(source)
    return measure_rate(where, lambda: target.copy_(source), 2 * source.nbytes)


def _measure_product(where: Device, dtype: str) -> tuple[int, Rate] | None:
    """The size of the matrices and the rate of their product; `None` where the device has no such product."""
    size = MIN_MATRIX_SIZE
    try:
        multiply = _prepare_product(where, dtype, size)
        while size < MAX_MATRIX_SIZE and _time_once(where, multiply) < MIN_PRODUCT_SECONDS:
            size *= 2
            multiply = _prepare_product(where, dtype, size)
    except RuntimeError:
        return None
    return size, measure_rate(where, multiply, 2 * size**3)


def _prepare_product(where: Device, dtype: str, size: int) -> Callable[[], Any]:
    """A product of two matrices, run once already."""
    a, b = (torch.randn(size, size, device=where.kind, dtype=getattr(torch, dtype)) for _ in range(2))
    out = a @ b
    return lambda: torch.mm(a, b, out=out)


def measure_rate(where: Device, work: Callable[[], Any], amount: float) -> Rate:
    """How much `work` does a second if it does `amount` a time: warmed up, in rounds."""
    once = _time_once(where, work)
    _time_repeats(where, work, _count_repeats(WARM_UP_SECONDS, once))
    repeats = _count_repeats(ROUND_SECONDS, once)
    rates = [amount * repeats / _time_repeats(where, work, repeats) for _ in range(CALIBRATION_ROUNDS)]
    return Rate(statistics.median(rates), min(rates), max(rates))


def _time_once(where: Device, work: Callable[[], Any]) -> float:
    return min(_time_repeats(where, work, 1) for _ in range(4))


def _count_repeats(wanted: float, once: float) -> int:
    """How often something must run to fill a time."""
    return max(1, math.ceil(wanted / once)) if once > 0 else 1000


def _time_repeats(where: Device, work: Callable[[], Any], repeats: int) -> float:
    clock = where.clock()
    start = clock.mark()
    for _ in range(repeats):
        work()
    end = clock.mark()
    clock.settle()
    return clock.seconds(start, end)


def _measure_launch(where: Device, now: Callable[[], float]) -> Rate:
    """Seconds from one small op to the next on the host, which a GPU does while the host gives the next."""
    tensor = torch.zeros(1, device=where.kind)

    def launched() -> float:
        start = now()
        for _ in range(LAUNCH_COUNT):
            tensor.add_(1)
        where.synchronize()
        return (now() - start) / LAUNCH_COUNT

    launched()
    each = [launched() for _ in range(CALIBRATION_ROUNDS)]
    return Rate(statistics.median(each), min(each), max(each))


def measure_mark_seconds(where: Device) -> float:
    """The time between two marks with nothing between them: on a GPU inside a graph, where the host plays no part."""
    clock = where.clock()
    marks: list[Any] = []

    def run() -> None:
        marks[:] = [clock.mark() for _ in range(MARK_COUNT)]

    if isinstance(where, CudaDevice):
        graph = where.gpu.capture(run, clock.settle)
        graph.replay()
        where.synchronize()
    else:
        run()
        clock.settle()
    return statistics.median(clock.seconds(one, following) for one, following in pairwise(marks))
