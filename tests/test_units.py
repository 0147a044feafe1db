"""Printing is the inverse of parsing within the printed precision, and never hides what is there."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from archprof import units
from archprof.errors import UsageError

COUNTS = st.lists(st.integers(0, 10**18), min_size=1, max_size=30)
PARSERS = {"count": units.parse_count, "bytes": units.parse_bytes, "seconds": units.parse_seconds}


def read(text: str, scale: units.UnitScale) -> float:
    """A printed number back in base units, by Python's own float."""
    return float(text.replace(",", "")) * scale.factor


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (138_357_544, "count", "138.36 M"),
        (15_470_264_320, "count", "15.47 G"),
        (9_999, "count", "9,999"),
        (10_000, "count", "10.00 k"),
        (4096, "bytes", "4,096 B"),
        (60 * 2**20, "bytes", "60.00 MiB"),
        (0.0032, "seconds", "3.20 ms"),
        (4.5e-7, "seconds", "450.00 ns"),
        (0.123, "share", "12.3 %"),
        (0.00001, "share", "<0.1 %"),
        (0, "count", "0"),
        (None, "bytes", "–"),
    ],
)
def test_show(value, unit, text):
    assert units.show_quantity(value, unit) == text


def test_one_prefix_keeps_the_large_readable_and_the_small_visible():
    scale = units.choose_unit_scale([15_470_264_320, 1_849_688_064, 924_844_032, 86_704_128, 4_096_000], "count")
    assert scale.symbol == "M"
    assert [scale.format(v) for v in (15_470_264_320, 86_704_128, 4_096_000, 30_000, 0)] == [
        "15,470.3", "86.7", "4.1", "<0.1", "0",
    ]  # fmt: skip


def test_small_whole_numbers_are_printed_whole():
    scale = units.choose_unit_scale([9_999, 3, 0, None], "count")
    assert [scale.format(v) for v in (9_999, 3, 0, None)] == ["9,999", "3", "0", "–"]


def last_digit(scale: units.UnitScale) -> float:
    """The value of one in the last printed digit, in base units."""
    return scale.factor / 10**scale.digits


@given(COUNTS, st.sampled_from(["count", "bytes"]))
def test_format_reads_back_within_half_the_last_digit(values, unit):
    scale = units.choose_unit_scale(values, unit)
    for value in values:
        text = scale.format(value)
        if text.startswith("<"):
            assert 0 < value <= read(text[1:], scale)
        else:
            assert abs(read(text, scale) - value) <= 0.5 * last_digit(scale) * (1 + 1e-9) + 1e-12 * value


@given(COUNTS, st.sampled_from(["count", "bytes"]))
def test_format_is_monotone_and_zero_means_zero(values, unit):
    scale = units.choose_unit_scale(values, unit)
    keys = [
        read(text[1:], scale) / 2 if text[0] == "<" else read(text, scale) for text in map(scale.format, sorted(values))
    ]
    assert keys == sorted(keys)
    assert all((scale.format(value) == "0") == (value == 0) for value in values)


@given(COUNTS)
def test_the_largest_value_stays_short(values):
    scale = units.choose_unit_scale(values, "count")
    assume(scale.symbol != "P")
    assert len(scale.format(max(values))) <= len("1,000,000.0")


@given(st.floats(1e-9, 1e4), st.just("seconds"))
def test_seconds_read_back(value, unit):
    number = units.parse_seconds(units.show_quantity(value, unit).replace(",", ""))
    assert math.isclose(number, value, rel_tol=0.0051)


@given(st.integers(0, 10**15), st.sampled_from(["count", "bytes"]))
def test_what_is_shown_can_be_typed_again(value, unit):
    text = units.show_quantity(value, unit)
    assert abs(PARSERS[unit](text) - value) <= last_digit(units.choose_unit_scale([value], unit)) / 2 + 1


@given(st.integers(0, 10**21))
def test_whole_numbers_are_read_exactly(value):
    assert units.parse_count(str(value)) == units.parse_count(f"{value:,}") == value


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (units.parse_count, "4.1G", 4_100_000_000),
        (units.parse_count, "25m", 25_000_000),
        (units.parse_count, "1_000", 1000),
        (units.parse_bytes, "60MiB", 62_914_560),
        (units.parse_bytes, "1.5KiB", 1536),
        (units.parse_bytes, "60MB", 60_000_000),
        (units.parse_seconds, "3ms", 0.003),
        (units.parse_seconds, ".5s", 0.5),
    ],
)
def test_parse(parse, text, value):
    assert parse(text) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize(
    ("parse", "text", "allowed"),
    [
        (units.parse_count, "4.1Q", "1 k = 1000"),
        (units.parse_count, "-3k", "1 k = 1000"),
        (units.parse_count, "", "1 k = 1000"),
        (units.parse_count, "1,00", "1 k = 1000"),
        (units.parse_count, ".", "1 k = 1000"),
        (units.parse_bytes, "60", "1 KiB = 1024 B"),
        (units.parse_bytes, "6G", "1 KiB = 1024 B"),
        (units.parse_seconds, "3", "ns, us, ms or s"),
        (units.parse_seconds, "3 min", "ns, us, ms or s"),
    ],
)
def test_parse_names_what_is_allowed(parse, text, allowed):
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert repr(text) in caught.value.given
    assert allowed in caught.value.allowed


def test_numbers_of_any_magnitude_have_three_digits_and_no_prefix():
    scale = units.choose_unit_scale([4.9e-5, 1.3e-2, 1200.0], "number")
    assert [scale.format(value) for value in (4.9123e-5, 0.013, 1200.0, 0.0, -2.5, None)] == [
        "4.91e-05", "0.013", "1.2e+03", "0", "-2.5", "–",
    ]  # fmt: skip
    assert scale.symbol == ""
