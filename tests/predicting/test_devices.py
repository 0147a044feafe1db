"""The catalogue: its columns and statuses, its figures against each other, and names as devices give them."""

from __future__ import annotations

import csv
import re
from importlib.resources import files

import pytest

from archprof.errors import UnknownName, UsageError
from archprof.predicting import devices
from archprof.predicting.device_checks import PEAKS, judge_figure, list_unverified, work_out
from archprof.predicting.devices import FIGURE_STATUSES, Device, Figure, load_catalogue

COLUMNS = ["device", "match_regex", "kind", "figure", "value", "unit", "status", "source", "url", "note"]
UNITS = {"count", "MHz", "TFLOP/s", "TOP/s", "GB", "GB/s", "MB", "W", "ratio", "bit", "Gb/s"}


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
    """2 FLOPs a core and cycle; what a GPU does in float32 outside its tensor cores; more where a core does more."""
    checked = 0
    for device in load_catalogue():
        cores, clock, peak = (device.figures.get(key) for key in ("cores", "boost_mhz", "fp32"))
        each = device.figures["fp32_per_clock"].value if "fp32_per_clock" in device.figures else 2
        if cores and clock and peak:
            assert each * cores.value * clock.value == pytest.approx(peak.value, rel=0.03), device.name
            checked += 1
    assert checked > 130


def test_bandwidth_follows_from_the_bus_and_its_rate():
    checked = 0
    for device in load_catalogue():
        bits, rate, bandwidth = (device.figures.get(key) for key in ("bus_bits", "pin_gbps", "mem_bw"))
        if bits and rate and bandwidth:
            assert bits.value / 8 * rate.value == pytest.approx(bandwidth.value, rel=0.03), device.name
            checked += 1
    assert checked > 120


def test_tensor_cores_follow_from_multiprocessors_and_clock():
    """512 FLOPs an SM and clock on GeForce, 1024 in Volta, Turing and workstations, 2048 in A100, 4096 in H100."""
    checked = 0
    for device in load_catalogue():
        sms, each, peak = (device.figures.get(key) for key in ("sm", "tensor_per_clock", "fp16_dense"))
        clock = device.figures.get("tensor_mhz") or device.figures.get("boost_mhz")
        if sms and each and peak and clock:
            assert each.value in (512, 1024, 2048, 4096), device.name
            assert sms.value * each.value * clock.value == pytest.approx(peak.value, rel=0.02), device.name
            checked += 1
    assert checked > 70


def test_what_no_formula_gives_was_read_or_is_marked():
    """A peak without parts to check it by has a source that was opened, or says that it has none."""
    for device in load_catalogue():
        for name in PEAKS:
            figure = device.figures.get(name)
            if figure and work_out(device, name) is None and figure.status not in ("unverified", "derived"):
                assert "NOT opened" not in figure.source, (device.name, name)


def test_processors_have_two_to_four_fused_units_of_128_to_512_bits():
    """FLOPs a core and clock: units x lanes of 4 bytes x 2."""
    for device in load_catalogue():
        if device.kind == "cpu":
            assert device.figures["fp32_per_clock"].value in (16, 32, 64), device.name


def test_the_catalogue_is_wide():
    names = [device.name for device in load_catalogue()]
    assert len(names) >= 60
    kinds = {kind: sum(device.kind == kind for device in load_catalogue()) for kind in ("gpu", "apple", "cpu")}
    assert min(kinds.values()) >= 10
    generations = (
        "GTX 1080",
        "V100",
        "RTX 2080",
        "RTX 3080",
        "RTX 4080",
        "RTX 5080",
        "H100",
        "B200",
        "RX 7900",
        "MI300",
    )
    for generation in generations:
        assert any(generation in name for name in names), generation


def test_every_device_can_be_predicted():
    for device in load_catalogue():
        assert device.peak("float32"), device.name
        assert device.bandwidth, device.name
        if device.kind == "gpu":
            assert {"fp16_dense", "mem_gb"} <= device.figures.keys(), device.name


def test_every_name_is_found_and_names_itself_alone():
    for device in load_catalogue():
        assert devices.resolve_device(device.name) is device
        plain = device.name.partition("(")[0].strip()
        assert devices.resolve_device(plain) is device, plain


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
        ("NVIDIA GeForce RTX 4070 Ti SUPER", "NVIDIA GeForce RTX 4070 Ti SUPER"),
        ("NVIDIA GeForce RTX 4070", "NVIDIA GeForce RTX 4070"),
        ("NVIDIA RTX 6000 Ada Generation", "NVIDIA RTX 6000 Ada"),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "NVIDIA RTX PRO 6000 Blackwell"),
        ("Quadro RTX 6000", "NVIDIA Quadro RTX 6000"),
        ("Tesla P100-PCIE-16GB", "NVIDIA P100 PCIe"),
        ("AMD EPYC 7763 64-Core Processor", "AMD EPYC 7763"),
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
        ("mi300", "AMD MI300X"),
        ("2080ti", "NVIDIA GeForce RTX 2080 Ti"),
        ("rtx4090", "NVIDIA GeForce RTX 4090"),
        ("4070", "NVIDIA GeForce RTX 4070"),
        ("4070 ti super", "NVIDIA GeForce RTX 4070 Ti SUPER"),
        ("titanxp", "NVIDIA TITAN Xp"),
        ("7900xtx", "AMD Radeon RX 7900 XTX"),
        ("m1", "Apple M1 (8-core GPU)"),
        ("a100-40", "NVIDIA A100 SXM4 40GB"),
        ("v100-16", "NVIDIA V100 SXM2 16GB"),
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


def test_a_laptop_gpu_is_not_the_card_of_its_name():
    for name in (
        "NVIDIA GeForce RTX 3080 Laptop GPU",
        "NVIDIA GeForce RTX 4070 Ti Laptop GPU",
        "GTX 1060 6GB with Max-Q",
    ):
        assert devices.find_device(name) is None


@pytest.mark.parametrize(
    ("said", "near"),
    [
        ("4095", "RTX 4090"), ("h1000", "H100"), ("h10", "H100"), ("rtx 4090 laptop", "RTX 4090"),
        ("t5", "Near it: NVIDIA T4"), ("l5", "Near it: NVIDIA L4"), ("a11", "NVIDIA A10"),
    ],
)  # fmt: skip
def test_a_name_that_is_nearly_right_is_told_what_it_is_near(said, near):
    with pytest.raises(UnknownName, match=near):
        devices.resolve_device(said)


def test_a_name_of_too_many_lists_some():
    with pytest.raises(UsageError, match=r"names \d+ devices.*\n.* and \d+ more"):
        devices.resolve_device("rtx")


@pytest.mark.parametrize("said", ["", "  ", "-"])
def test_no_name_is_no_device(said):
    with pytest.raises(UnknownName, match="archprof devices"):
        devices.resolve_device(said)


def test_a_figure_is_as_sure_as_what_it_comes_from():
    made = {
        "cores": Figure(1000, "unverified", "said"),
        "boost_mhz": Figure(1e9, "seen", "read"),
        "fp32": Figure(2e12, "derived", "derived"),
        "bus_bits": Figure(256, "seen", "read"),
        "pin_gbps": Figure(10e9, "seen", "read"),
        "mem_bw": Figure(320e9, "seen", "read"),
        "fp8_dense": Figure(9e12, "measured", "there"),
    }
    device = Device("made up", "gpu", "made up", made)
    assert work_out(device, "fp32") == 1000 * 1e9 * 2
    assert work_out(device, "mem_bw") == 256 / 8 * 10e9
    assert work_out(device, "tf32_dense") is None
    assert [judge_figure(device, name) for name in ("fp32", "mem_bw", "fp8_dense")] == [
        "unverified", "checked", "measured",
    ]  # fmt: skip
    assert list_unverified(device) == ["fp32"]
    other = Device("other", "gpu", "other", {**made, "mem_bw": Figure(400e9, "seen", "read")})
    assert judge_figure(other, "mem_bw") == "seen"
