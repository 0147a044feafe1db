"""The hooks of `fully_shard` around each call of a unit, forward and backward, in torch's order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from archprof.facts.records import Profile
from archprof.predicting.sharding import gathering, reducing
from archprof.predicting.sharding.spans import CallSpan, find_spans
from archprof.predicting.sharding.units_walk import Moment, ParamGroup, UnitsWalk

Hook = Literal["before forward", "behind forward", "before backward", "behind backward"]


class _Event(NamedTuple):
    position: int
    side: int
    order: int  # among those of one place: the outer call first before it, the inner one behind it
    hook: Hook
    module: int
    call: int


def run_hooks(walk: UnitsWalk, groups: Mapping[int, ParamGroup], profile: Profile) -> None:
    """Gather, free and reduce at every call.

    Args:
        walk: of the step.
        groups: by index of the module of their unit, in the order of the modules.
        profile: as it was traced.
    """
    spans = find_spans(profile, {0, *groups})
    run = _HookRun(walk, groups)
    if not any(op.phase == "backward" for op in profile.ops):
        run.keep_unfreed()
    for event in sorted(_list_events(spans)):
        run.run(event)
    last = max((at for at, op in enumerate(profile.ops) if op.phase == "backward"), default=None)
    if last is not None:
        run.end_backward(Moment(last, True, 0, "backward"))


def _list_events(spans: Mapping[int, list[CallSpan]]) -> Iterator[_Event]:
    for module, calls in spans.items():
        for call, forward, backward, needs_input_gradient in calls:
            if forward is not None:
                yield _Event(forward[0], -1, call, "before forward", module, call)
                yield _Event(forward[1], 1, -call, "behind forward", module, call)
            if backward is not None:
                yield _Event(backward[0], -1, call, "before backward", module, call)
                if needs_input_gradient:
                    yield _Event(backward[1], 1, -call, "behind backward", module, call)


class _HookRun:
    """What torch knows from hook to hook."""

    def __init__(self, walk: UnitsWalk, groups: Mapping[int, ParamGroup]) -> None:
        self.walk, self.groups = walk, groups
        self.order: list[int] = []  # units, in the order in which their forwards ended
        self.indices: dict[int, list[int]] = {module: [] for module in groups}
        self.last_hooks: dict[int, Hook] = {}

    def keep_unfreed(self) -> None:
        """Without a backward, what a forward does not free is there in the next one."""
        for group in self.groups.values():
            if not group.reshards:
                gathering.keep_whole(self.walk, group)

    def run(self, event: _Event) -> None:
        phase = "forward" if event.hook.endswith("forward") else "backward"
        at = Moment(event.position, event.side > 0, event.call, phase)  # type: ignore[arg-type]
        group = self.groups.get(event.module)
        if group is not None:
            self._run_of_group(event, group, at)
        if event.module == 0 and event.hook == "behind forward":
            gathering.free_gathered(self.walk, at)

    def _run_of_group(self, event: _Event, group: ParamGroup, at: Moment) -> None:
        if event.hook == "before forward":
            gathering.unshard(self.walk, group, at)
            gathering.wait_for_unshard(self.walk, group, at)
        elif event.hook == "behind forward":
            if group.reshards:
                gathering.reshard(self.walk, group, at)
            self.indices[event.module].append(len(self.order))
            self.order.append(event.module)
        elif event.hook == "before backward":
            if self.last_hooks.get(event.module) != "before backward":
                self._begin_backward(event.module, group, at)
        else:
            reducing.finish_backward(self.walk, group, at)
        self.last_hooks[event.module] = event.hook

    def _begin_backward(self, module: int, group: ParamGroup, at: Moment) -> None:
        """The parameters are whole again, and the gather of the unit before begins."""
        gathering.unshard(self.walk, group, at)
        gathering.wait_for_unshard(self.walk, group, at)
        if self.indices[module]:
            index = self.indices[module].pop()
            if index > 0:
                gathering.unshard(self.walk, self.groups[self.order[index - 1]], at)

    def end_backward(self, at: Moment) -> None:
        """What waits for the end: units whose inputs have no gradient, and the buffers that are left."""
        for module, group in self.groups.items():
            if self.last_hooks.get(module) != "behind backward":
                reducing.finish_backward(self.walk, group, at)
            reducing.release_reduced(self.walk, group, at)
            gathering.drop_pending(self.walk, group, at)
        reducing.free_scattered(self.walk, at)
        reducing.await_reduced(self.walk, at)
