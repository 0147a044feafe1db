"""What torch's profiler wrote down: the Chrome trace of one session -> host spans, launches and device work.

The exported file is read, not torch's event lists: its categories tell a kernel from an annotation on the device and
from the profiler's own overhead, which those lists have counted as kernel time (pytorch#130730, #176351).
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

HOST_CATEGORIES = {"cpu_op", "user_annotation"}
LAUNCH_CATEGORIES = {"cuda_runtime", "cuda_driver"}
DEVICE_CATEGORIES = {"kernel", "gpu_memcpy", "gpu_memset"}
FLOW_CATEGORY = "fwdbwd"
"""Categories of the trace. Left out on purpose: "gpu_user_annotation" and "overhead" cover kernels, they are none."""

HostPlace = tuple[int, int]
"""A thread, and nanoseconds on the host's clock."""


class HostSpan(NamedTuple):
    """An op or a named range on the host.

    Attributes:
        thread: as the operating system numbers it.
        start, end: nanoseconds.
        external: the number by which launches and kernels name it; `None` when it has none.
        sequence: autograd's number of the node that this op made or is; `None` without one.
        forward_thread: 0, or torch's own number of the thread whose forward made this backward node.
    """

    name: str
    thread: int
    start: int
    end: int
    external: int | None
    sequence: int | None
    forward_thread: int


class DeviceWork(NamedTuple):
    """One kernel, copy or fill on the device; `correlation` and `external` lead to what launched it."""

    name: str
    device: int | str
    stream: int | str
    start: int
    nanoseconds: int
    correlation: int | None
    external: int | None


class HostLaunch(NamedTuple):
    """The call on the host that put one piece of work into a stream."""

    thread: int
    start: int
    external: int | None


@dataclass
class ProfilerTrace:
    """One profiler session.

    Attributes:
        spans: by thread, in the order of their starts, the outer before the inner.
        work: every piece of device work once, in the order of their starts.
        launches: by correlation.
        flows: from the place of a backward node to that of its forward op, as torch itself links them.
    """

    spans: dict[int, list[HostSpan]]
    work: list[DeviceWork]
    launches: dict[int, HostLaunch]
    flows: dict[HostPlace, HostPlace] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._starts = {thread: [span.start for span in spans] for thread, spans in self.spans.items()}
        self._parents = {thread: _find_parents(spans) for thread, spans in self.spans.items()}
        self._index_by_external = {
            span.external: (thread, index)
            for thread, spans in self.spans.items()
            for index, span in enumerate(spans)
            if span.external is not None
        }

    def find_enclosing(self, place: HostPlace) -> Iterable[HostSpan]:
        """The spans that enclose a point in time on its thread, from the innermost out."""
        thread, when = place
        spans = self.spans.get(thread, [])
        index: int | None = bisect_right(self._starts.get(thread, []), when) - 1
        if index == -1:
            return
        while index is not None:
            if when <= spans[index].end:
                yield spans[index]
            index = self._parents[thread][index]

    def find_launch(self, work: DeviceWork) -> HostPlace | None:
        """Where on the host a piece of device work came from: the launching call, or else the op that both name.

        The call comes first: what a model launches outside any op (Triton does) names an outer range.
        """
        launch = self.launches.get(work.correlation) if work.correlation is not None else None
        if launch is not None and launch.thread in self.spans:
            return launch.thread, launch.start
        for external in (work.external, launch.external if launch else None):
            if external in self._index_by_external:
                thread, index = self._index_by_external[external]
                return thread, self.spans[thread][index].start
        return None


def parse_trace(text: str) -> ProfilerTrace:
    """The trace in a file that `torch.profiler` exported; a repeated record of the same device work is kept once."""
    # A time stamp counts microseconds since boot or 1970 with three decimals: too many digits for a float.
    events = json.loads(text, parse_float=Decimal, strict=False)["traceEvents"]
    spans: dict[int, list[HostSpan]] = defaultdict(list)
    work: dict[DeviceWork, None] = {}
    launches: dict[int, HostLaunch] = {}
    for event in events:
        category = event.get("cat")
        if event.get("ph") != "X":
            continue
        if category in HOST_CATEGORIES:
            spans[event["tid"]].append(_parse_span(event))
        elif category in LAUNCH_CATEGORIES:
            launches[event["args"].get("correlation")] = HostLaunch(
                event["tid"], _nanoseconds(event["ts"]), _read_number(event, "External id")
            )
        elif category in DEVICE_CATEGORIES:
            work[_parse_work(event)] = None
    for found in spans.values():
        found.sort(key=lambda span: (span.start, -span.end))
    return ProfilerTrace(dict(spans), sorted(work, key=lambda item: item.start), launches, _collect_flows(events))


def _parse_span(event: Mapping[str, Any]) -> HostSpan:
    start, length = _nanoseconds(event["ts"]), _nanoseconds(event.get("dur", 0))
    return HostSpan(
        event["name"],
        event["tid"],
        start,
        start + length,
        _read_number(event, "External id"),
        _read_number(event, "Sequence number"),
        _read_number(event, "Fwd thread id") or 0,
    )


def _parse_work(event: Mapping[str, Any]) -> DeviceWork:
    return DeviceWork(
        event["name"],
        event["pid"],
        event["tid"],
        _nanoseconds(event["ts"]),
        _nanoseconds(event.get("dur", 0)),
        _read_number(event, "correlation"),
        _read_number(event, "External id"),
    )


def _collect_flows(events: Iterable[Mapping[str, Any]]) -> dict[HostPlace, HostPlace]:
    """Arrows: "s" stands at the forward op, "f" at the backward node, and both have one id."""
    ends: dict[str, dict[int, HostPlace]] = {"s": {}, "f": {}}
    for event in events:
        if event.get("cat") == FLOW_CATEGORY and event["ph"] in ends:
            ends[event["ph"]][event["id"]] = event["tid"], _nanoseconds(event["ts"])
    return {place: ends["s"][number] for number, place in ends["f"].items() if number in ends["s"]}


def _find_parents(spans: list[HostSpan]) -> list[int | None]:
    """For each span of one thread the index of the one that it lies in."""
    parents: list[int | None] = []
    open_spans: list[int] = []
    for index, span in enumerate(spans):
        while open_spans and spans[open_spans[-1]].end <= span.start:
            open_spans.pop()
        parents.append(open_spans[-1] if open_spans else None)
        open_spans.append(index)
    return parents


def _read_number(event: Mapping[str, Any], key: str) -> int | None:
    value = event.get("args", {}).get(key)
    return None if value is None else int(value)


def _nanoseconds(microseconds: Decimal | int) -> int:
    return round(microseconds * 1000)
