"""The catalogue as a table: units of datasheets, and how sure each figure is."""

from __future__ import annotations

import pytest

import archprof
from archprof.analysis.tables.device_list import show_figure
from archprof.predicting.devices import match_devices, resolve_device


def test_rates_are_those_of_the_datasheet() -> None:
    """T4: 8.1 TFLOP/s in float32, 65 in float16, 320 GB/s, 16 GB, 70 W, 40 SMs, no bfloat16; NVIDIA's datasheet."""
    row = next(row for row in archprof.list_devices("nvidia t").records() if row["device"] == "NVIDIA T4")
    assert (row["float32"], row["float16"], row["bfloat16"]) == (8.1e12, 65e12, None)
    assert (row["bandwidth"], row["memory"], row["power"], row["sms"]) == (320e9, 16 << 30, 70, 40)
    assert (row["standing"], row["kind"]) == ("verified", "gpu")


def test_what_nobody_checked_says_so() -> None:
    rows = {row["device"]: row["standing"] for row in archprof.list_devices().records()}
    assert rows["Apple M4 Max"] == rows["AMD EPYC 7763"] == "unverified"
    assert rows["NVIDIA GeForce RTX 4090"] == rows["NVIDIA GeForce RTX 3080"] == "verified"
    assert rows["Intel Arc A770"] == "in part"


def test_one_device_alone_is_shown_figure_by_figure() -> None:
    table = archprof.list_devices("h100 nvl")
    figures = {row["figure"]: row for row in table.records()}
    assert set(figures) == set(resolve_device("h100 nvl").figures)
    assert (figures["mem_bw"]["value"], figures["mem_bw"]["standing"]) == ("3,900.0 GB/s", "checked")
    number = int(str(figures["mem_bw"]["reference"]).strip("[]"))
    assert f"[{number}] stas00/ml-engineering" in "\n".join(table.notes)
    assert figures["tdp_w"]["value"] == "400 W"


def test_figures_have_their_units() -> None:
    shown = {name: show_figure(name, figure.value) for name, figure in resolve_device("t4").figures.items()}
    assert shown["fp32"] == "8.10 TFLOP/s"
    assert (shown["boost_mhz"], shown["mem_gb"], shown["l2_mb"]) == ("1,590 MHz", "16 GB", "4 MB")
    assert (shown["sm"], shown["bus_bits"], shown["pin_gbps"]) == ("40", "256", "10.00 Gb/s")
    assert shown["eff_fp32_gemm"] == "48 %"


@pytest.mark.parametrize("width", [80, 100, 160])
def test_names_rates_and_standing_fit_into_a_terminal(width: int) -> None:
    text = archprof.list_devices().to_text(width)
    assert max(map(len, text.splitlines())) <= width
    assert all(head in text for head in ("Device", "Bandwidth", "float32", "float16", "Standing"))
    one = archprof.list_devices("h100 nvl").to_text(width)
    assert max(map(len, one.splitlines())) <= width
    assert all(head in one for head in ("Figure", "Value", "Standing", "Source"))


@pytest.mark.parametrize(("said", "count"), [("jetson orin", 3), ("2080ti", 1), ("a100 80", 2), ("RTX 40*", 0)])
def test_words_are_found_as_people_type_them(said: str, count: int) -> None:
    assert len(match_devices(said)) == count


def test_no_device_is_said() -> None:
    assert archprof.list_devices("nothing").notes == ("No device is called so: archprof devices lists all.",)
