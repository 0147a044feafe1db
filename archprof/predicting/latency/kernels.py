"""The time of one kernel on one device, from its arithmetic, its bytes and the shape of its product.

All of it is arithmetic on the numbers of a `Work`, with branches on its class, dtype and flags alone: arrays may stand
where the numbers are, so that the script that fits the constants runs this very code over thousands of kernels at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from archprof.predicting.latency.rates import Rates
from archprof.predicting.latency.works import Work

Number = Any
"""A number, or an array of them."""

Sizes = tuple[Number, Number, Number, Number]
"""Batch, m, n and k of a product."""

TILES = ((128, 128), (256, 128), (128, 256), (128, 64), (64, 128), (64, 64), (32, 128), (128, 32))
"""Rows and columns of the result that one multiprocessor works on at a time, in the kernels of cuBLAS and cuDNN."""

WHOLE_TILE = 128 * 128

TYPICAL_CLOCK = 1.5e9
"""Hz, of a device whose datasheet does not say."""

MATRIX_PRODUCTS = frozenset({"matmul", "bmm"})
GROUPED = frozenset({"grouped", "grouped_back"})
CONVOLUTIONS = frozenset({"conv", "conv1x1", "dgrad", "wgrad"}) | GROUPED
DEPTHWISE = frozenset({"depthwise", "depthwise_back"})
PRODUCTS = MATRIX_PRODUCTS | CONVOLUTIONS
HALVES = frozenset({"float16", "bfloat16"})

EARLY_TENSOR_CORES = frozenset({"volta", "turing"})
"""Before asynchronous copies to shared memory, which keep tensor cores fed."""

HALF_STEP = 8
"""Tensor cores take half-precision factors by so many: channels are padded to that."""

WINOGRAD_PRODUCTS = 16
"""Winograd's F(2x2, 3x3) (Lavin and Gray, 2015) makes a 3 x 3 convolution 16 products over patches of 2 x 2 results."""

NARROW_GROUP, WIDE_GROUP = 32, 64
"""Channels of a group: the narrowest tile that the model gives it, and up to where its backward takes as long for each
multiplication; beyond, for each channel."""

SOFTMAX_ROW = 1024
"""Up to so many elements, a softmax holds its row in registers."""

RESIDENT_THREADS = 1024
"""Threads of a block that interpolates, of which one multiprocessor holds one."""

BLOCK_THREADS, RESIDENT_BLOCKS = 512, 2
"""Of a batch norm: threads that go over one channel, and how many such one multiprocessor holds."""

LOADING_THREADS = 32
"""Threads of one multiprocessor that load from its cache in one clock."""

RESIDENT_ROWS = 8
"""Rows that one multiprocessor works on at a time."""


class KernelTime(NamedTuple):
    """Seconds of one kernel: of its arithmetic and of its bytes, each alone; both together; and the roofline's."""

    arithmetic: Number
    memory: Number
    seconds: Number
    least: Number


class Setting(NamedTuple):
    """How a pass runs, as far as kernels differ by it.

    Attributes:
        tf32: float32 factors are rounded to TF32 in matrix products, and in convolutions.
        channels_last: of images.
    """

    tf32: tuple[bool, bool] = (False, True)
    channels_last: bool = False


def most(one: Number, other: Number) -> Number:
    """The larger, of numbers or arrays."""
    return (one + other + abs(one - other)) / 2


def least(one: Number, other: Number) -> Number:
    """The smaller, of numbers or arrays."""
    return (one + other - abs(one - other)) / 2


def ceil_to(value: Number, step: int) -> Number:
    """The next multiple."""
    return -(-value // step) * step


def choose_precision(work: Work, rates: Rates, setting: Setting) -> str:
    """The dtype of the arithmetic: "tf32" where float32 is rounded to that."""
    may_round = setting.tf32[work.kind not in MATRIX_PRODUCTS]
    return "tf32" if work.dtype == "float32" and may_round and "tf32" in rates.peaks else work.dtype


def time_kernel(work: Work, rates: Rates, setting: Setting, constants: Mapping[str, float]) -> KernelTime:
    """What a kernel that is no view takes on the device itself."""
    precision = choose_precision(work, rates, setting)
    memory = _time_bytes(work, rates, setting, constants)
    if work.kind in PRODUCTS:
        arithmetic = _time_product(work, precision, rates, setting, constants)
    elif work.kind == "attention":
        arithmetic = _time_attention(work, precision, rates, constants)
    elif work.kind in DEPTHWISE:
        arithmetic = _time_depthwise(work, rates, setting, constants)
    elif work.kind == "gather":
        arithmetic = _time_planes(work, rates, constants)
    elif work.kind == "norm" and not setting.channels_last:
        arithmetic = _time_channels(work, rates, constants)
    else:
        arithmetic = 0.0 * memory
    power = constants["overlap"]
    both = most(arithmetic, memory) if work.thin else (arithmetic**power + memory**power) ** (1 / power)
    roofline = most(2.0 * work.macs / rates.peak(precision), (work.read + work.written) / rates.bandwidth)
    turning = _time_turning(work, memory, rates, setting, constants)
    return KernelTime(arithmetic, memory, both + turning + constants["start"], roofline)


def is_tensor(precision: str, rates: Rates) -> bool:
    """Whether the arithmetic runs in tensor cores; those before Ampere have no bfloat16."""
    return rates.has_tensor_cores and precision in rates.peaks and (precision in HALVES or precision == "tf32")


def is_converted(precision: str, rates: Rates) -> bool:
    """Whether factors are half as wide as the arithmetic, which is that of float32."""
    return precision in HALVES and not is_tensor(precision, rates)


def _sustained(precision: str, rates: Rates, constants: Mapping[str, float]) -> float:
    """FLOP/s that a device sustains of its peak: what power and the generation leave."""
    peak, tensor = rates.peak(precision), is_tensor(precision, rates)
    if precision in rates.measured:  # by large matrix products
        return peak * constants["slow_matmul_tensor" if tensor else "slow_matmul_simt"]
    share = constants["tensor"] if tensor else constants["simt"]
    share *= constants.get(f"arithmetic_{rates.generation}", 1.0)
    if rates.is_consumer:
        share *= constants["boost"]
    if precision == "tf32":  # factors of four bytes take twice the shared memory
        share *= constants["tf32"]
    if tensor and rates.generation in EARLY_TENSOR_CORES:
        share *= constants["tensor_early"]
    if is_converted(precision, rates):
        share *= constants["converted"]
    if rates.watts:  # the more FLOP/s a watt must carry, the less of them last
        carried = peak / rates.watts
        if tensor:
            share *= (constants["tensor_per_watt"] / carried) ** constants["tensor_power"]
        else:
            share *= min(1.0, constants["simt_per_watt"] / carried) ** constants["simt_power"]
    return peak * share


def _time_product(work: Work, precision: str, rates: Rates, setting: Setting, constants: Mapping[str, float]) -> Number:
    """A matrix product or convolution, in tensor cores or not; by Winograd's algorithm where that is faster."""
    tensor = is_tensor(precision, rates)
    batch, m, n, k = work.sizes
    if tensor and precision in HALVES:
        n, k = ceil_to(n, HALF_STEP), ceil_to(k // work.area, HALF_STEP) * work.area
    kind = "tensor" if tensor else "simt"
    rate = _sustained(precision, rates, constants)
    feed = _feed_element(2 if precision in HALVES else 4, rates, constants)
    best = _time_tiles((batch, m, n, k), rate, kind, rates.sm, feed, constants) * constants[f"slow_{work.kind}_{kind}"]
    if tensor:
        best = best * _slow_layout(work, setting, constants)
    if work.dtype == "float32" and _is_winograd(work):
        best = least(best, _time_winograd(work, rates, constants))
    return best


def _feed_element(item_bytes: int, rates: Rates, constants: Mapping[str, float]) -> float:
    """Seconds in which the cache hands one element to one multiprocessor, however many FLOP/s that has."""
    if rates.is_cpu:  # each of its cores has a cache of its own
        return 0.0
    return item_bytes / (constants["feed"] * (rates.clock or TYPICAL_CLOCK))


def _time_winograd(work: Work, rates: Rates, constants: Mapping[str, float]) -> Number:
    """16 products over patches; what transforms the factors and the result is in the constant."""
    sizes: Sizes = (WINOGRAD_PRODUCTS, work.patches, work.sizes[2], work.sizes[3] / work.area)
    if work.kind == "wgrad":  # rows of channels in, columns of channels out, over all patches
        sizes = (WINOGRAD_PRODUCTS, work.sizes[1] / work.area, work.sizes[2], work.patches)
    rate = _sustained("float32", rates, constants)
    feed = _feed_element(4, rates, constants)
    return _time_tiles(sizes, rate, "simt", rates.sm, feed, constants) * constants["winograd"]


def _slow_layout(work: Work, setting: Setting, constants: Mapping[str, float]) -> Number:
    """What channels cost that no kernel for tensor cores suits, and groups whose channels lie last."""
    if work.kind in MATRIX_PRODUCTS:
        return 1.0 if work.aligned else constants["unaligned_matmul"]
    if not setting.channels_last:
        return 1.0
    if work.kind == "grouped_back":
        return _slow_groups_back(work, constants)
    if work.kind == "grouped":
        return constants["grouped_last"] * (1.0 if work.aligned else constants["odd_groups_last"])
    return 1.0


def _slow_groups_back(work: Work, constants: Mapping[str, float]) -> Number:
    """Groups that fill tiles together are fast, others slow by far; narrow ones do not pay for the model's padding."""
    width = work.sizes[2]
    padding = least(width / NARROW_GROUP, 1.0)
    if work.aligned:
        return constants["grouped_back_last_shared"] * padding
    return constants["grouped_back_last"] * padding * WIDE_GROUP / most(width, WIDE_GROUP)


def _is_winograd(work: Work) -> bool:
    return bool(work.patches) if isinstance(work.patches, int) else bool(work.patches.all())


def _time_tiles(sizes: Sizes, rate: float, kind: str, sm: int, feed: float, constants: Mapping[str, float]) -> Number:
    """The best of the tiles: how many fill the multiprocessors how often, how efficient they are, and how well fed.

    `feed`: see `_feed_element`; a step of a tile needs one element for each of its rows and columns.
    """
    batch, m, n, k = sizes
    best: Number = None
    for rows, columns in TILES:
        size = rows * columns / WHOLE_TILE
        loss = constants[f"{kind}_small"] * (1.0 / size) ** 0.5 if size < 1 else constants[f"{kind}_whole"] / size
        units = batch * (-(-m // rows)) * (-(-n // columns))
        shared = most(units / sm, constants["split"] / (k + constants["split"]))
        apart = constants["deep"] / (k + constants["deep"])  # a deep sum is split among multiprocessors
        waves = apart * (-(-units // sm)) + (1.0 - apart) * shared
        step = math.hypot((rows * columns * 2.0) / rate * sm * (1.0 + loss), (rows + columns) * feed)
        time = waves * step * (k + constants[f"{kind}_depth"])
        best = time if best is None else least(best, time)
    return best


def _time_attention(work: Work, precision: str, rates: Rates, constants: Mapping[str, float]) -> Number:
    kind = "tensor" if is_tensor(precision, rates) else "simt"
    _, m, n, d = work.sizes
    padded = ceil_to(m, 64) / m * (ceil_to(n, 64) / n)
    shallow = 1.0 + constants["attention_depth"] / d
    return 2.0 * work.macs * padded / _sustained(precision, rates, constants) * constants[f"attention_{kind}"] * shallow


def _time_depthwise(work: Work, rates: Rates, setting: Setting, constants: Mapping[str, float]) -> Number:
    """A kernel of its own, without tensor cores: it waits for its loads, some for each position of the window."""
    if rates.is_cpu:
        return 2.0 * work.macs / _sustained("float32", rates, constants)
    slow = constants[f"{work.kind}_{'last' if setting.channels_last else 'first'}"]
    if rates.generation == "pascal":
        slow *= constants["depthwise_pascal"]
    if is_converted(work.dtype, rates):
        slow *= constants["converted_depthwise"]
    return work.macs / (rates.sm * LOADING_THREADS * (rates.clock or TYPICAL_CLOCK)) * slow


def _time_planes(work: Work, rates: Rates, constants: Mapping[str, float]) -> Number:
    """Threads that go over planes in turn wait for memory at each of them; there is no arithmetic to speak of."""
    planes, positions, _, _ = work.sizes
    return planes * (-(-positions // (rates.sm * RESIDENT_THREADS))) * constants["round_trip"]


def _time_channels(work: Work, rates: Rates, constants: Mapping[str, float]) -> Number:
    """A batch norm that takes statistics has a block of threads for each channel: of few, most of a GPU idles."""
    elements, channels, _, is_own = work.sizes
    round_trip = is_own * constants["channel_half"] + (1 - is_own) * constants["channel"]
    return -(-elements // BLOCK_THREADS) * -(-channels // (rates.sm * RESIDENT_BLOCKS)) * round_trip


def _time_bytes(work: Work, rates: Rates, setting: Setting, constants: Mapping[str, float]) -> Number:
    nbytes = work.read + work.written + _reread_rows(work, rates, constants)
    bandwidth = rates.bandwidth
    if "bandwidth" not in rates.measured:
        bandwidth *= constants["bandwidth"] * constants.get(f"bandwidth_{rates.generation}", 1.0)
    hit = 1.0 / (1.0 + nbytes / (constants["cache_share"] * rates.l2))
    slow = 1.0 if work.thin else constants[f"bytes_{work.kind}"]
    if work.permuted:
        slow *= constants["permuted"]
    if work.kind in DEPTHWISE and setting.channels_last:
        slow *= constants["depthwise_last_bytes"]
    if work.kind == "group_norm" and setting.channels_last:  # its kernel wants channels first, and leaves them so
        slow *= constants["group_norm_last"]
    return nbytes * slow * (1.0 - constants["cache_gain"] * hit) / bandwidth


def _time_turning(work: Work, memory: Number, rates: Rates, setting: Setting, constants: Mapping[str, float]) -> Number:
    """Convolutions in tensor cores want channels last, by eights: kernels of their own turn images, and widen them."""
    if work.kind not in CONVOLUTIONS or work.dtype not in HALVES or not is_tensor(work.dtype, rates):
        return 0.0
    suits = setting.channels_last and (work.aligned or work.kind in GROUPED)
    return 0.0 * memory if suits else memory * constants["transposed"]


def _reread_rows(work: Work, rates: Rates, constants: Mapping[str, float]) -> Number:
    """Bytes read again, where no cache keeps a row: a norm goes over it twice, a long softmax three times."""
    if work.kind not in ("norm", "softmax"):
        return 0.0
    long = work.row > SOFTMAX_ROW if work.kind == "softmax" else work.row > 0
    resident = 4.0 * rates.sm * RESIDENT_ROWS * work.row / (4 if work.kind == "softmax" else 1)
    missed = resident / (resident + constants["row_cache"] * rates.l2)
    return work.read * missed * long * (2 if work.kind == "softmax" else 1)
