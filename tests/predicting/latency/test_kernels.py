"""The time of a kernel, held against hand-worked bounds and against itself in arrays."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from archprof.predicting.devices import resolve_device
from archprof.predicting.latency.constants import load_constants
from archprof.predicting.latency.kernels import Setting, ceil_to, least, most, time_kernel
from archprof.predicting.latency.rates import find_rates
from archprof.predicting.latency.works import Work

CONSTANTS = load_constants()["kernels"]


def multiply(n: int, dtype: str = "float16") -> Work:
    item = 2 if dtype == "float16" else 4
    return Work("matmul", dtype, n**3, 2 * n**3, 2 * item * n * n, item * n * n, (1, n, n, n))


def seconds(work: Work, device: str = "a100 sxm4 40gb", setting: Setting = Setting()) -> float:  # noqa: B008
    return float(time_kernel(work, find_rates(resolve_device(device)), setting, CONSTANTS).seconds)


def test_small_arithmetic_by_hand() -> None:
    assert (most(2, 5), least(2, 5), ceil_to(9, 8), ceil_to(16, 8)) == (5, 2, 16, 16)


@pytest.mark.parametrize("device", ["a100 sxm4 40gb", "t4", "3090", "1080ti", "h100"])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_no_large_product_beats_a_card_that_clocks_a_fifth_above_its_datasheet(device: str, dtype: str) -> None:
    found = time_kernel(multiply(8192, dtype), find_rates(resolve_device(device)), Setting(), CONSTANTS)
    assert float(found.seconds) > float(found.least) / 1.2
    assert float(found.seconds) < 5 * float(found.least)


def test_the_roofline_by_hand() -> None:
    """8192 cubed in float16 on an A100: 2 * 8192**3 / 312e12 seconds."""
    found = time_kernel(multiply(8192), find_rates(resolve_device("a100 sxm4 40gb")), Setting(), CONSTANTS)
    assert float(found.least) == pytest.approx(2 * 8192**3 / 312e12)
    copy = Work("copy", "float32", read=10**9, written=10**9)
    found = time_kernel(copy, find_rates(resolve_device("a100 sxm4 40gb")), Setting(), CONSTANTS)
    assert float(found.least) == pytest.approx(2e9 / 1555e9)


def test_tf32_is_asked_apart_for_products_and_convolutions() -> None:
    product = multiply(4096, "float32")
    assert seconds(product, setting=Setting((True, True))) < 0.5 * seconds(product, setting=Setting((False, True)))
    conv = Work("conv", "float32", 2**33, 2**34, 2**20, 2**20, (1, 2**15, 256, 2**10), 9)
    assert seconds(conv, setting=Setting((False, True))) < 0.5 * seconds(conv, setting=Setting((False, False)))
    assert seconds(product, "v100 sxm2", Setting((True, True))) == seconds(
        product, "v100 sxm2", Setting((False, False))
    )


def test_a_row_of_a_tile_costs_what_the_tile_does() -> None:
    """A product of one row is no faster than one of 32: bytes aside, tiles are whole."""
    narrow = Work("matmul", "float16", 2**20, 2**21, 2**21, 2**11, (1, 1, 1024, 1024))
    assert seconds(narrow) == pytest.approx(seconds(narrow._replace(sizes=(1, 32, 1024, 1024))))


def test_one_token_takes_its_weights_past_once() -> None:
    """4096 x 4096 in float16 on an RTX 3090: 33.6 MB at nine tenths of 936 GB/s, and the start of a kernel."""
    token = Work("matmul", "float16", 2**24, 2**25, 2**25 + 2**13, 2**13, (1, 1, 4096, 4096))
    assert seconds(token, "3090") == pytest.approx(2**25 / (0.91 * 936.2e9), rel=0.15)


def test_many_small_planes_are_interpolated_one_after_the_other() -> None:
    """196 threads go over a million planes: timm's efficientformerv2 waits 0.31 s for that on an RTX 3090."""
    work = Work("gather", "float16", 0, 0, 103e6, 411e6, (1024 * 1024, 14 * 14, 0, 0))  # type: ignore[arg-type]
    assert seconds(work, "3090") == pytest.approx(0.31, rel=0.15)
    large = Work("gather", "float16", 0, 0, 103e6, 411e6, (1024, 14 * 14 * 1024, 0, 0))  # type: ignore[arg-type]
    assert seconds(large, "3090") < 0.01


def test_few_rows_are_free_where_tensor_cores_take_a_tile_of_them() -> None:
    """Twelve rows of a VGG: its weights alone count in half precision; without tensor cores, arithmetic too."""
    assert Work("matmul", "float16", sizes=(1, 12, 4096, 25088)).thin
    assert Work("matmul", "float32", sizes=(1, 1, 4096, 25088)).thin
    assert not Work("matmul", "float32", sizes=(1, 12, 4096, 25088)).thin
    assert not Work("matmul", "float16", sizes=(1, 128, 4096, 25088)).thin


def test_a_norm_of_groups_turns_images_whose_channels_are_last() -> None:
    """resnetv2_50d_gn takes 372 ms with channels first and 560 ms with channels last on an RTX 3090."""
    norm = Work("group_norm", "float16", read=4 * 10**9, written=2 * 10**9)
    assert seconds(norm, "3090") == pytest.approx(6e9 / (0.91 * 936.2e9), rel=0.25)
    assert seconds(norm, "3090", Setting(channels_last=True)) > 1.5 * seconds(norm, "3090")
    batch = norm._replace(kind="norm")
    assert seconds(batch, "3090", Setting(channels_last=True)) == seconds(batch, "3090")


@pytest.mark.parametrize(
    ("width", "channels", "is_faster"), [(4, 512, True), (32, 512, True), (64, 512, False), (16, 160, False)]
)
def test_the_backward_of_groups_in_either_layout(width: int, channels: int, is_faster: bool) -> None:
    """Milliseconds of training on an RTX 3090 with channels first, and last: seresnext26d, 32 groups of 4 and up, 454
    and 325; seresnext101_32x8d, of 8 to 64, 507 and 458; regnety_040, groups of 64, 598 and 2018; regnetx_004, groups
    of 16 that fill no tiles of 128, 189 and 286.
    """
    groups, positions = channels // width, 128 * 28 * 28
    macs = groups * positions * width * width * 9
    nbytes = 2 * positions * channels
    sizes = (groups, positions, width, width * 9)
    work = Work("grouped_back", "float16", macs, 2 * macs, nbytes, nbytes, sizes, 9)
    first, last = (seconds(work, "3090", Setting(channels_last=last)) for last in (False, True))
    assert (last < first) is is_faster


def test_images_that_do_not_suit_tensor_cores_are_turned_by_kernels_of_their_own() -> None:
    """vgg16 trains in 825 ms with channels first and in 703 ms with channels last on an RTX 3090: its convolutions are
    bound by arithmetic, so that turning does not hide behind it. Widening channels by eights costs as much.
    """
    conv = Work("conv", "float16", 2**36, 2**37, 2**28, 2**28, (1, 2**20, 256, 256 * 9), 9)
    first, last = (seconds(conv, "3090", Setting(channels_last=last)) for last in (False, True))
    bytes_alone = 2**29 / (0.91 * 936.2e9)
    assert first - last == pytest.approx(bytes_alone, rel=0.5)
    odd = conv._replace(sizes=(1, 2**20, 252, 256 * 9))
    assert seconds(odd, "3090", Setting(channels_last=True)) == pytest.approx(first, rel=1e-3)
    full = conv._replace(dtype="float32")
    assert seconds(full, "v100 sxm2", Setting(channels_last=True)) == seconds(full, "v100 sxm2")


def test_a_deep_sum_is_split_among_multiprocessors() -> None:
    """The gradient of a weight of 64 x 64 over four million positions: one tile, and yet as fast as each of 64 such."""
    macs = 64 * 64 * 2**22
    alone = Work("wgrad", "float16", macs, 2 * macs, sizes=(1, 64, 64, 2**22))
    many = alone._replace(macs=64 * macs, flops=128 * macs, sizes=(64, 64, 64, 2**22))
    assert seconds(alone) < 1.3 * seconds(many) / 64
    shallow = alone._replace(sizes=(1, 64, 64, 512))
    wide = many._replace(sizes=(64, 64, 64, 512))
    assert seconds(shallow) > 5 * seconds(wide) / 64


def test_a_depthwise_kernel_waits_for_its_loads_and_not_for_arithmetic() -> None:
    """An RTX 3090 has twice the arithmetic of an RTX 2080 Ti for each multiprocessor and clock, and loads as much."""
    work = Work("depthwise", "float32", 10**9, sizes=(64, 49, 1, 9), area=9)

    def clocks(device: str) -> float:
        rates = find_rates(resolve_device(device))
        assert rates.clock is not None
        return float(time_kernel(work, rates, Setting(), CONSTANTS).arithmetic) * rates.sm * rates.clock

    assert clocks("3090") == pytest.approx(clocks("2080ti"))
    assert clocks("1080ti") > 1.5 * clocks("2080ti")


def test_channels_of_seven_take_the_time_of_eight() -> None:
    seven = Work("conv", "float16", 2**30, 2**31, 2**20, 2**20, (1, 2**16, 64, 7 * 9), 9)
    assert seconds(seven) == pytest.approx(seconds(seven._replace(sizes=(1, 2**16, 64, 8 * 9))))


def test_winograd_is_taken_where_it_is_faster() -> None:
    plain = Work("conv", "float32", 2**33, 2**34, 2**22, 2**22, (1, 2**14, 256, 256 * 9), 9)
    assert seconds(plain._replace(patches=2**12), "v100 sxm2") < seconds(plain, "v100 sxm2")


def test_a_long_softmax_reads_its_rows_again() -> None:
    short = Work("softmax", "float32", 0, 1, 2**28, 2**28, row=1024)
    assert seconds(short._replace(row=1025)) > 1.05 * seconds(short)


def test_arrays_say_what_numbers_say() -> None:
    """The script that fits runs the same code over arrays."""
    works = [multiply(n) for n in (72, 100, 1000, 4096)]
    names = ("macs", "flops", "read", "written", "area", "row")
    columns = {name: np.array([getattr(work, name) for work in works], float) for name in names}
    sizes = np.array([work.sizes for work in works], float).T
    group = SimpleNamespace(
        kind="matmul", dtype="float16", permuted=False, aligned=True, thin=False, patches=0, sizes=sizes, **columns
    )
    rates = find_rates(resolve_device("t4"))
    together = time_kernel(group, rates, Setting(), CONSTANTS).seconds  # type: ignore[arg-type]
    apart = [float(time_kernel(work, rates, Setting(), CONSTANTS).seconds) for work in works]
    assert [together[i] for i in (0, 2, 3)] == pytest.approx([apart[i] for i in (0, 2, 3)])


def test_a_batch_norm_of_few_channels_leaves_most_of_a_gpu_idle() -> None:
    """A block of 512 threads for each: 216 of them run at once on 108 multiprocessors, so that 217 take two rounds."""

    def arithmetic(elements: int, channels: int, own: int, last: bool = False) -> float:
        work = Work("norm", "float16", read=1, written=1, sizes=(elements, channels, 0, own))
        rates = find_rates(resolve_device("a100 sxm4 40gb"))
        return float(time_kernel(work, rates, Setting(channels_last=last), CONSTANTS).arithmetic)

    assert arithmetic(512 * 100, 64, 1) == pytest.approx(100 * CONSTANTS["channel_half"])
    assert arithmetic(512 * 100, 64, 0) == pytest.approx(100 * CONSTANTS["channel"])
    assert arithmetic(512 * 100, 216, 0) == arithmetic(512 * 100 - 511, 1, 0)
    assert arithmetic(512 * 100, 217, 0) == pytest.approx(2 * arithmetic(512 * 100, 216, 0))
    assert arithmetic(512 * 100, 64, 0, last=True) == 0.0


def test_a_processor_has_no_tiles_to_wait_for_and_no_slow_depthwise_kernel() -> None:
    """One image's last layers make one tile, which one multiprocessor of many works on; cores share it out."""
    rates = find_rates(resolve_device("EPYC 7763"))
    small = Work("conv1x1", "float32", 49 * 64 * 64, sizes=(1, 49, 64, 64))
    depthwise = Work("depthwise", "float32", 10**6, sizes=(64, 49, 1, 9), area=9)
    for work, most_of_peak in ((small, 4.0), (depthwise, 2.0)):
        found = time_kernel(work, rates, Setting(), CONSTANTS)
        assert 0.8 * found.least < found.arithmetic < most_of_peak * found.least
