"""The package's model of a kernel over all measured kernels at once, in arrays: for the fit and the scores."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from archprof.predicting.devices import resolve_device
from archprof.predicting.latency.kernels import Setting, time_kernel
from archprof.predicting.latency.launches import LAUNCH_KINDS, join_host, list_launch_seconds
from archprof.predicting.latency.rates import Rates, find_rates
from archprof.predicting.latency.works import Work
from prediction.latency_rows import Row, read_passes

Array = Any
KEPT = 3
"""Times of a group that are remembered, by the constants that they depend on."""


class Recorder(dict[str, float]):
    """Constants that note which of them were asked for."""

    def __init__(self, constants: Mapping[str, float]) -> None:
        super().__init__(constants)
        self.seen: set[str] = set()

    def __getitem__(self, name: str) -> float:
        self.seen.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        if name in self:
            self.seen.add(name)
        return super().get(name, default)


class Group:
    """Kernels that go the same way through the model, on one device under one setting."""

    def __init__(self, rates: Rates, setting: Setting, works: Sequence[tuple[Work, int]]) -> None:
        self.rates, self.setting = rates, setting
        self.places = np.array([place for _, place in works])
        first = works[0][0]
        columns = {name: _column(works, name) for name in ("macs", "flops", "read", "written", "area", "row")}
        self.work = SimpleNamespace(
            kind=first.kind, dtype=first.dtype, permuted=first.permuted, aligned=first.aligned, thin=first.thin,
            sizes=np.array([work.sizes for work, _ in works], float).T,
            patches=_column(works, "patches") if first.patches else 0, **columns,
        )  # fmt: skip
        self.used: tuple[str, ...] | None = None
        self.known: OrderedDict[tuple[float, ...], Array] = OrderedDict()

    def time(self, constants: Mapping[str, float]) -> Array:
        """Seconds of each kernel."""
        if self.used is None:
            recorder = Recorder(constants)
            time_kernel(self.work, self.rates, self.setting, recorder)  # type: ignore[arg-type]
            self.used = tuple(sorted(recorder.seen))
        key = tuple(constants.get(name, 1.0) for name in self.used)
        if key not in self.known:
            self.known[key] = time_kernel(self.work, self.rates, self.setting, constants).seconds  # type: ignore[arg-type]
            while len(self.known) > KEPT:
                self.known.popitem(last=False)
        self.known.move_to_end(key)
        return self.known[key]

    def bound(self, constants: Mapping[str, float]) -> Array:
        """The roofline of each kernel."""
        return time_kernel(self.work, self.rates, self.setting, constants).least  # type: ignore[arg-type]


def _column(works: Sequence[tuple[Work, int]], name: str) -> Array:
    return np.array([getattr(work, name) for work, _ in works], float)


class Slowness(NamedTuple):
    """By how much the machine of each row is slower than others with its GPU."""

    host: Array = 1.0
    copy: Array = 1.0
    kernel: Array = 1.0


class Batch:
    """Rows and the kernels of their passes."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = list(rows)
        self.seconds = np.array([row.seconds for row in rows])
        self.copied = np.array([row.copied for row in rows])
        self.called = np.array([float(row.called) for row in rows])
        self.launches = np.zeros((len(rows), len(LAUNCH_KINDS)))
        self.unique: dict[tuple[str, Setting, Work], int] = {}
        self._collect()
        self.groups = self._group()

    def _collect(self) -> None:
        works, passes = read_passes()
        owners, places, counts = [], [], []
        for index, row in enumerate(self.rows):
            if row.work is not None:
                pairs = [(row.work, 1)]
            else:
                listed, self.launches[index] = passes[row.pass_key]
                pairs = [(works[one], count) for one, count in zip(listed[::2], listed[1::2], strict=True)]
            for work, count in pairs:
                owners.append(index)
                places.append(self.unique.setdefault((row.device, row.setting, work), len(self.unique)))
                counts.append(count)
        self.owners, self.places, self.counts = np.array(owners), np.array(places), np.array(counts, float)

    def _group(self) -> list[Group]:
        groups: dict[Any, list[tuple[Work, int]]] = defaultdict(list)
        for (device, setting, work), place in self.unique.items():
            same = (work.kind, work.dtype, work.permuted, work.aligned, work.thin, bool(work.patches))
            groups[device, setting, same].append((work, place))
        rates = {device: find_rates(resolve_device(device)) for device, _, _ in groups}
        return [Group(rates[device], setting, works) for (device, setting, _), works in groups.items()]

    def _sum(self, values: Sequence[Array]) -> Array:
        each = np.zeros(len(self.unique))
        for group, value in zip(self.groups, values, strict=True):
            each[group.places] = value
        return np.bincount(self.owners, each[self.places] * self.counts, len(self.rows))

    def predict(self, constants: Mapping[str, float], slow: Slowness | None = None) -> Array:
        """Seconds of each row, with what its source adds."""
        return self.predict_parts(constants, slow)[0]

    def predict_parts(self, constants: Mapping[str, float], slow: Slowness | None = None) -> tuple[Array, Array]:
        """Seconds of each row, and the share of them that the device waits for the host."""
        slow = slow or Slowness()
        kernel = self._sum([group.time(constants) for group in self.groups]) * slow.kernel
        host = self.launches @ np.array(list_launch_seconds(constants)) * slow.host
        whole = join_host(kernel, host, constants)
        added = self.copied * constants["copy"] * slow.copy + self.called * constants["call"]
        return whole + added, 1.0 - kernel / whole

    def bound(self, constants: Mapping[str, float]) -> Array:
        """The roofline of each row."""
        return self._sum([group.bound(constants) for group in self.groups])
