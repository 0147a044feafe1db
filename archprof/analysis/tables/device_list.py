"""The catalogue of devices as a table: what each can do, how sure that is, and where it was read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from archprof.analysis.table import Column, Row, Table
from archprof.predicting.device_checks import PEAKS, judge_figure, list_unverified
from archprof.predicting.devices import Device, Figure, match_devices
from archprof.units import Unit, choose_unit_scale

COLUMNS = (
    Column("device", "Device", "path", "its name in the catalogue", 0),
    Column("kind", "Kind", "text", "gpu, apple or cpu", 5),
    Column("memory", "Memory", "bytes", "of the datasheet", 1),
    Column("bandwidth", "Bandwidth", "bytes_per_second", "between the device and its memory", 0),
    Column("float32", "float32", "flop_per_second", "the most FLOP/s, dense", 0, "rate"),
    Column("tf32", "TF32", "flop_per_second", "the same where float32 may be rounded to TF32", 4, "rate"),
    Column("float16", "float16", "flop_per_second", "the same in float16", 0, "rate"),
    Column("bfloat16", "bfloat16", "flop_per_second", "the same in bfloat16", 3, "rate"),
    Column("float8", "float8", "flop_per_second", "the same in float8", 4, "rate"),
    Column("l2", "L2", "bytes", "its last cache before the memory", 5),
    Column("sms", "SMs", "count", "multiprocessors or compute units; of a processor, its cores", 5),
    Column("clock", "Clock", "hertz", "boost clock; of a processor, with all cores busy", 5),
    Column("power", "Power", "watts", "of the board at most", 5),
    Column("standing", "Standing", "text", "verified, unverified, or in part: some of its peaks are not", 0),
    Column("source", "Source", "text", "where most of its figures were read", 2),
)
FIGURE_COLUMNS = (
    Column("figure", "Figure", "text", "its name in archprof/data/devices.csv", 0),
    Column("value", "Value", "text", "with its unit", 0),
    Column("standing", "Standing", "text", "checked, seen, derived, measured or unverified", 0),
    Column("reference", "Source", "text", "where it was read: a number of those below", 0),
)
STANDINGS = (
    "Standing: verified where every peak and the bandwidth were read in their source or follow from verified parts. "
    "One device alone is shown figure by figure: archprof devices 'h100 nvl'. Prices are yours: archprof predict "
    "--price."
)
MEANINGS = (
    "checked: read, and what cores x clock, SMs x clock or bus x rate give; seen: read in its source; derived: worked "
    "out from other figures; measured: on such a device; unverified: known by hearsay."
)
FIGURE_UNITS: dict[str, Unit] = {
    "mem_bw": "bytes_per_second", "measured_bw_copy": "bytes_per_second",
    "pin_gbps": "bits_per_second",
}  # fmt: skip
WHOLE_UNITS = {
    "boost_mhz": ("MHz", 1e6),
    "tensor_mhz": ("MHz", 1e6),
    "tdp_w": ("W", 1),
    "mem_gb": ("GB", 1e9),
    "l2_mb": ("MB", 1e6),
}
RATES = ("fp", "bf16", "tf32", "int8", "measured_")
PLAIN_COUNTS = ("fp32_per_clock",)


def tabulate_matches(pattern: str) -> Table:
    """The devices of the catalogue that a pattern matches; one alone figure by figure."""
    found = match_devices(pattern)
    return tabulate_figures(found[0]) if len(found) == 1 else tabulate_devices(found)


def tabulate_devices(devices: Sequence[Device]) -> Table:
    """One row per device, in the order of the catalogue; what it does not know is left out."""
    notes = (STANDINGS,) if devices else ("No device is called so: archprof devices lists all.",)
    return Table("Devices", COLUMNS, tuple(map(_row, devices)), notes=notes)


def _row(device: Device) -> Row:
    sms = device.figures.get("cores" if device.kind == "cpu" else "sm")
    count = None if sms is None else int(sms.value)
    speeds = [_value(device.peak(dtype)) for dtype in ("float32", "tf32", "float16", "bfloat16", "float8")]
    cells = (device.name, device.kind, _bytes(device, "mem_gb", 1e9, 1 << 30), _value(device.bandwidth), *speeds)
    rest = (_bytes(device, "l2_mb", 1e6, 1 << 20), count, _of(device, "boost_mhz"), _of(device, "tdp_w"))
    return Row((*cells, *rest, describe_standing(device), find_main_source(device)))


def _value(figure: Figure | None) -> float | None:
    return None if figure is None else figure.value


def _of(device: Device, name: str) -> float | None:
    return _value(device.figures.get(name))


def _bytes(device: Device, name: str, unit: float, real: int) -> int | None:
    """A size in bytes: the GB and MB of datasheets are GiB and MiB."""
    size = _of(device, name)
    return None if size is None else int(size / unit * real)


def describe_standing(device: Device) -> str:
    """Whether its peaks and its bandwidth were checked: verified, unverified, or in part."""
    doubtful = list_unverified(device)
    if not doubtful and {"fp32", "mem_bw"} <= device.figures.keys():
        return "verified"
    return "in part" if not {"fp32", "mem_bw"} & {*doubtful} and doubtful else "unverified"


def find_main_source(device: Device) -> str:
    """Where most of its figures were read, in few words."""
    read = [figure.source for figure in device.figures.values() if figure.source != "derived"]
    return _shorten(Counter(read).most_common(1)[0][0]) if read else "derived"


def _shorten(source: str) -> str:
    for sign in (", ", " (", ":", " as commonly", ";"):
        source = source.partition(sign)[0]
    return source


def tabulate_figures(device: Device) -> Table:
    """Every figure of one device, with its standing and its source."""
    sources = list(dict.fromkeys(map(_say_source, device.figures.values())))
    rows = tuple(_figure_row(device, name, sources) for name in _order(device.figures))
    notes = tuple(f"[{number}] {source}" for number, source in enumerate(sources, 1))
    return Table(device.name, FIGURE_COLUMNS, rows, notes=(MEANINGS, *notes))


def _order(figures: Iterable[str]) -> list[str]:
    """Peaks and bandwidth first, then the rest as the catalogue has it."""
    return sorted(figures, key=lambda name: PEAKS.index(name) if name in PEAKS else len(PEAKS))


def _figure_row(device: Device, name: str, sources: Sequence[str]) -> Row:
    figure = device.figures[name]
    where = f"[{sources.index(_say_source(figure)) + 1}]"
    return Row((name, show_figure(name, figure.value), judge_figure(device, name), where))


def _say_source(figure: Figure) -> str:
    """Where a figure was read, or from what it was worked out."""
    return figure.note or "worked out" if figure.source == "derived" else figure.source


def show_figure(name: str, value: float) -> str:
    """A figure with its unit."""
    if name.startswith("eff_"):
        return f"{100 * value:.0f} %"
    if name in WHOLE_UNITS:
        symbol, factor = WHOLE_UNITS[name]
        return f"{value / factor:,.4g} {symbol}" if value / factor < 1000 else f"{value / factor:,.0f} {symbol}"
    if name in PLAIN_COUNTS or not (name in FIGURE_UNITS or name.startswith(RATES)):
        return f"{value:,.0f}"
    if name == "int8_dense":
        return f"{value / 1e12:,.2f} TOP/s"
    scale = choose_unit_scale([value], FIGURE_UNITS.get(name, "flop_per_second"))
    return f"{scale.format(value)} {scale.symbol}"
