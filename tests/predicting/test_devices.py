"""The catalogue: its columns and statuses, its figures against each other, and names as devices give them."""

from __future__ import annotations

import csv
import re
from importlib.resources import files

import pytest

from archprof.errors import UnknownName, UsageError
from archprof.predicting import devices
from archprof.predicting.devices import FIGURE_STATUSES, load_catalogue

COLUMNS = ["device", "match_regex", "kind", "figure", "value", "unit", "status", "source", "url", "note"]
UNITS = {"count", "MHz", "TFLOP/s", "TOP/s", "GB", "GB/s", "MB", "W", "ratio"}


def rows():
    with files("archprof.data").joinpath("devices.csv").open(encoding="utf-8") as file:
        reader = csv.DictReader(file)
        assert reader.fieldnames == COLUMNS
        return list(reader)


def test_every_figure_is_a_number_with_a_unit_a_status_and_a_source():
    for row in rows():
        assert set(row) == set(COLUMNS)
        assert float(row["value"]) > 0
        assert row["unit"] in UNITS
        assert row["status"] in FIGURE_STATUSES
        assert row["source"].strip()
        assert row["kind"] in ("gpu", "apple", "cpu")
        re.compile(row["match_regex"])


def test_no_figure_of_a_device_stands_there_twice():
    keys = [(row["device"], row["figure"]) for row in rows()]
    assert len(set(keys)) == len(keys)
    assert len({(row["device"], row["match_regex"], row["kind"]) for row in rows()}) == len(load_catalogue())


def test_peaks_follow_from_cores_and_clock():
    """2 FLOPs a core and cycle; what a GPU does in float32 outside its tensor cores."""
    for device in load_catalogue():
        cores, clock, peak = (device.figures.get(key) for key in ("cores", "boost_mhz", "fp32"))
        if device.kind == "gpu" and cores and clock and peak:
            assert 2 * cores.value * clock.value == pytest.approx(peak.value, rel=0.03), device.name


def test_peaks_of_tensor_cores_are_what_was_derived():
    checked = 0
    for device in load_catalogue():
        for kind in ("fp16", "bf16"):
            check, peak = device.figures.get(f"{kind}_check"), device.figures.get(f"{kind}_dense")
            if check and peak:
                assert check.value == pytest.approx(peak.value, rel=0.01), device.name
                checked += 1
    assert checked >= 8


def test_nothing_measured_is_above_its_datasheet():
    for device in load_catalogue():
        for measured, peak in (
            ("measured_bf16", "bf16_dense"),
            ("measured_bw_copy", "mem_bw"),
            ("measured_fp8", "fp8_dense"),
        ):
            if measured in device.figures and peak in device.figures:
                assert device.figures[measured].value < device.figures[peak].value, device.name


def test_units_are_base_units():
    device = devices.resolve_device("nvidia h200 sxm")
    assert device.peak("bfloat16").value == 989.4e12
    assert device.bandwidth.value == 4800e9
    assert device.figures["mem_gb"].value == 141e9
    assert device.peak("float32").value == pytest.approx(66.9e12)
    assert device.peak("int8") is None


@pytest.mark.parametrize(
    ("said", "device"),
    [
        ("NVIDIA H200", "NVIDIA H200 SXM"),
        ("NVIDIA H200 NVL", "NVIDIA H200 NVL"),
        ("NVIDIA GH200 480GB", "NVIDIA GH200 (141GB)"),
        ("NVIDIA GB200", "NVIDIA GB200 (per GPU)"),
        ("NVIDIA B200", "NVIDIA B200 SXM"),
        ("Tesla T4", "NVIDIA T4"),
        ("NVIDIA A10", "NVIDIA A10"),
        ("NVIDIA A10G", "NVIDIA A10G"),
        ("NVIDIA A100-SXM4-80GB", "NVIDIA A100 SXM4 80GB"),
        ("NVIDIA H100 80GB HBM3", "NVIDIA H100 SXM5 80GB"),
        ("NVIDIA L4", "NVIDIA L4"),
        ("NVIDIA L40S", "NVIDIA L40S"),
        ("Orin Nano", "NVIDIA Jetson Orin Nano 8GB Super"),
        ("Apple M1", "Apple M1 (8-core GPU)"),
        ("Apple M1 Max", "Apple M1 Max"),
        ("Intel(R) Xeon(R) Platinum 8480+", "Intel Xeon Platinum 8480+"),
    ],
)
def test_devices_are_found_by_what_they_call_themselves(said, device):
    assert devices.find_device(said).name == device


@pytest.mark.parametrize(
    ("said", "device"),
    [
        ("rtx 4090", "NVIDIA GeForce RTX 4090"),
        ("A100 sxm4 80gb", "NVIDIA A100 SXM4 80GB"),
        ("h200", "NVIDIA H200 SXM"),  # the NVL calls itself so
        ("h100-nvl", "NVIDIA H100 NVL"),
        ("l4", "NVIDIA L4"),
        ("b200", "NVIDIA B200 SXM"),
        ("m4", "Apple M4"),
        ("m4 max", "Apple M4 Max"),
        ("mi300x", "AMD MI300X"),
    ],
)
def test_some_words_of_a_name_are_enough(said, device):
    assert devices.resolve_device(said).name == device


def test_words_that_name_several_devices_list_them():
    with pytest.raises(UsageError, match="'a100' names 4 devices") as told:
        devices.resolve_device("a100")
    assert told.value.allowed.count("NVIDIA A100 ") == 4


def test_an_unknown_device_is_no_device():
    assert devices.find_device("AMD EPYC") is None
    with pytest.raises(UnknownName, match="NVIDIA H100"):
        devices.resolve_device("NVIDIA H1O0 PCIe")


@pytest.mark.parametrize(
    ("said", "near"), [("h10", "NVIDIA H100 NVL"), ("409", "NVIDIA GeForce RTX 4090"), ("a100 sxn4", "A100 SXM4 80GB")]
)
def test_a_word_that_is_nearly_right_names_what_is_near(said, near):
    with pytest.raises(UnknownName, match="Near it: ") as told:
        devices.resolve_device(said)
    assert near in told.value.allowed
