"""From one version of a model to the next: what changed, where, and what that adds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from archprof.analysis import phrases
from archprof.analysis.compare.findings import Finding, WeighedFinding
from archprof.analysis.compare.sequences import AlignedRow
from archprof.analysis.metrics import METRIC_BY_KEY
from archprof.analysis.table import Column, Row, Table
from archprof.analysis.tables.fold import MAX_SHOWN_ROWS
from archprof.analysis.view import ProfileView
from archprof.facts.records import Layer, Profile
from archprof.wording import name_few, show_shape

MAX_CAUSES = 3
"""So many causes are named in a sentence."""

SAME_PATHS_SHARE = 0.5
"""The share of the paths of the smaller model that the other has too, for the two to be versions of one."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that changed: in words behind the name of the part, with what each model spends there.

    `layers` are the calls that it is about, in both models together.
    """

    part: str
    what: str
    layers: int
    macs: tuple[int, int]
    params: tuple[int, int]

    @property
    def text(self) -> str:
        return f"{self.part or 'the model itself'} {self.what}"


def are_versions(a: Profile, b: Profile) -> bool:
    """Whether one model is another version of the other: of one name but for a revision, arguments or a rewrite, and
    with mostly the same paths."""
    paths = [{layer.path for layer in one.layers} for one in (a, b)]
    shared = len(paths[0] & paths[1]) >= SAME_PATHS_SHARE * min(map(len, paths))
    return _base_name(a.model) == _base_name(b.model) and shared


def _base_name(model: str) -> str:
    """The name without revision, arguments and what a rewrite adds."""
    plain = model.removesuffix(" rewritten").partition("@")[0]
    return plain.partition("(")[0] or plain


def find_causes(a: ProfileView, b: ProfileView) -> list[Cause]:
    """Everything that differs, the largest change first; together they are the whole difference."""
    rows = [{view.call_key(row): row for row in range(len(view.profile.layers))} for view in (a, b)]
    causes: dict[str, Cause] = {}
    for one in (*_compare_common(a, b, *rows), *_gather_missing(a, b, *rows)):
        causes[one.part] = _merge(causes[one.part], one) if one.part in causes else one
    changed = (one for one in causes.values() if one.what or one.macs[0] != one.macs[1])
    kept = [one for one in changed if one.part or any(one.macs) or any(one.params)]
    return sorted(kept, key=lambda one: (-abs(one.macs[1] - one.macs[0]), -abs(one.params[1] - one.params[0])))


def _merge(one: Cause, inside: Cause) -> Cause:
    """A layer that is now another with parts, and those parts."""
    macs, params = ((x[0] + y[0], x[1] + y[1]) for x, y in ((one.macs, inside.macs), (one.params, inside.params)))
    return Cause(one.part, one.what, one.layers + inside.layers, macs, params)


Rows = dict[tuple[str, "int | None"], int]


def _compare_common(a: ProfileView, b: ProfileView, ours: Rows, theirs: Rows) -> Iterator[Cause]:
    """Calls of one path that do not do the same."""
    for key in (key for key in ours if key in theirs):
        i, j = ours[key], theirs[key]
        before, after = a.own_counts[i], b.own_counts[j]
        what = _describe_difference(a, i, b, j)
        costs = (before.macs, before.params, before.flops) != (after.macs, after.params, after.flops)
        if costs or a.layer(i).kind != b.layer(j).kind:
            name = a.layer(i).path
            macs, params = (before.macs, after.macs), (before.params, after.params)
            yield Cause(name, what or "works on other sizes", 1, macs, params)


def _describe_difference(a: ProfileView, i: int, b: ProfileView, j: int) -> str:
    """In which of its settings a layer differs: "groups 1 to 4", "outputs 64 to 48"."""
    old, new = a.layer(i), b.layer(j)
    if old.kind != new.kind:
        return f"{old.kind} to {new.kind}"
    before, after = _read_settings(a, old), _read_settings(b, new)
    said = [f"{key} {before[key]} to {after[key]}" for key in before if key in after and before[key] != after[key]]
    return ", ".join(said)


def _read_settings(view: ProfileView, layer: Layer) -> dict[str, object]:
    """What its weight and its output say of a layer."""
    profile = view.profile
    weights = (
        one.spec.shape
        for one in profile.parameters
        if profile.modules[one.module].path == layer.path and one.name.endswith("weight")
    )
    shape = next(weights, ())
    found: dict[str, object] = {}
    if len(shape) > 2 and layer.inputs and len(layer.inputs[0].shape) == len(shape):
        found["groups"] = max(layer.inputs[0].shape[1] // max(shape[1], 1), 1)
        found["kernel"] = show_shape(shape[2:])
    if len(shape) > 1:
        found["outputs"] = shape[0]
        found["inputs"] = layer.inputs[0].shape[1] if "groups" in found else shape[1]
    if layer.outputs:
        found["size"] = show_shape(layer.outputs[0].shape[2:], "vector")
    return found


def _gather_missing(a: ProfileView, b: ProfileView, ours: Rows, theirs: Rows) -> Iterator[Cause]:
    """Calls of one model alone, by the outermost part that the other has not, and these by what they are part of."""
    gone = _group_by_part(a, ours.keys() - theirs.keys(), {path for path, _ in theirs})
    come = _group_by_part(b, theirs.keys() - ours.keys(), {path for path, _ in ours})
    for above in dict.fromkeys([*gone, *come]):
        old, new = gone.get(above, {}), come.get(above, {})
        macs, params = (
            tuple(
                sum(getattr(view.own_counts[rows[key]], name) for keys in parts.values() for key in keys)
                for view, rows, parts in ((a, ours, old), (b, theirs, new))
            )
            for name in ("macs", "params")
        )
        count = sum(len(keys) for parts in (old, new) for keys in parts.values())
        part, what = _say_parts(a, b, above, list(old), list(new))
        yield Cause(part, what, count, (macs[0], macs[1]), (params[0], params[1]))


def _group_by_part(
    view: ProfileView, keys: set[tuple[str, int | None]], others: set[str]
) -> dict[str, dict[str, list[tuple[str, int | None]]]]:
    """The keys by the outermost path that the other model lacks, in groups by what that hangs on."""
    found: dict[str, dict[str, list[tuple[str, int | None]]]] = {}
    for key in (key for key in map(view.call_key, range(len(view.profile.layers))) if key in keys):
        part = key[0]
        while (above := part.rpartition(".")[0]) and above not in others:
            part = above
        found.setdefault(part.rpartition(".")[0], {}).setdefault(part, []).append(key)
    return found


def _say_parts(a: ProfileView, b: ProfileView, above: str, old: Sequence[str], new: Sequence[str]) -> tuple[str, str]:
    """ "layer3", "6 to 4 blocks"; "fc", "removed"; "fc", "is now head"."""
    names = [path.rpartition(".")[2] for path in (*old, *new)]
    if above and all(name.isdigit() for name in names):
        counts = [len(_list_children(view.profile, above)) for view in (a, b)]
        if counts[0] != counts[1]:
            return above, f"{counts[0]} to {counts[1]} blocks"
    if len(old) == len(new) == 1:
        return old[0], f"is now {new[0]}"
    return name_few([*old, *new], 2), "removed" if not new else "added" if not old else "in place of others"


def _list_children(profile: Profile, path: str) -> set[str]:
    """The parts next below a path."""
    inside = (layer.path for layer in profile.layers if layer.path.startswith(f"{path}."))
    return {one.removeprefix(f"{path}.").partition(".")[0] for one in inside}


def say_change(views: Sequence[ProfileView], stages: Sequence[AlignedRow]) -> Iterator[WeighedFinding]:
    """From the first to the second, metric by metric, with what made the change."""
    a, b = views
    causes = find_causes(a, b)
    if a.total == b.total and not causes and not a.bounds | b.bounds:
        yield WeighedFinding(95, Finding(f"Nothing changed: {a.name} and {b.name} cost the same.", (0, 1), ("macs",)))
    elif causes and (a.total.macs, a.total.params) == (b.total.macs, b.total.params) and not a.bounds | b.bounds:
        text = f"MACs and parameters stay: {name_few([one.text for one in causes], MAX_CAUSES)}."
        yield WeighedFinding(95, Finding(text, (0, 1), ("macs", "params")))
    for weight, key in ((95, "macs"), (90, "params")):
        before, after = getattr(a.total, key), getattr(b.total, key)
        if key in a.bounds | b.bounds or before == after or not before:
            continue
        change = phrases.tenths_of_percent(Fraction(after - before, before), signed=True)
        both = f"{phrases.say_count(before)} to {phrases.say_count(after)}"
        text = f"{change} {METRIC_BY_KEY[key].word} ({both}){_name_causes(causes, key)}."
        yield WeighedFinding(weight, Finding(text, (0, 1), (key,)))
    yield from _say_memory(a, b)
    grown = [getattr(b.total, key) > getattr(a.total, key) for key in ("macs", "params", "act_fp32")]
    if all(grown) and not a.bounds | b.bounds:
        text = "Everything grows: MACs, parameters and activations."
        yield WeighedFinding(80, Finding(text, (0, 1), ("macs", "params", "act_fp32")))


def _name_causes(causes: Sequence[Cause], key: str) -> str:
    """ ": layer3 6 to 4 blocks (-436.7 M), layer1.0.conv2 groups 1 to 4 (-86.7 M) and 3 more"."""
    alike: dict[str, list[tuple[Cause, int]]] = {}
    for one in causes:
        if change := getattr(one, key)[1] - getattr(one, key)[0]:
            alike.setdefault(one.what, []).append((one, change))
    made = [(_name_alike(group), sum(change for _, change in group)) for group in alike.values()]
    made.sort(key=lambda pair: -abs(pair[1]))
    if not made:
        return ""
    return f": {name_few([f'{text} ({_signed(change)})' for text, change in made], MAX_CAUSES)}"


def _name_alike(group: Sequence[tuple[Cause, int]]) -> str:
    """Where the same was done in several places, how many there are."""
    first = group[0][0]
    return first.text if len(group) == 1 else f"{len(group):,} layers {first.what}"


def _signed(change: int) -> str:
    return f"{'-' if change < 0 else '+'}{phrases.say_count(abs(change))}"


def _say_memory(a: ProfileView, b: ProfileView) -> Iterator[WeighedFinding]:
    """The most bytes live at once."""
    if not a.live_bytes or not b.live_bytes or "act_fp32" in a.bounds | b.bounds:
        return
    before, after = max(a.live_bytes), max(b.live_bytes)
    if before != after:
        change = phrases.tenths_of_percent(Fraction(after - before, before), signed=True)
        both = f"{phrases.say_bytes(before)} to {phrases.say_bytes(after)}"
        yield WeighedFinding(70, Finding(f"{change} peak memory ({both}).", (0, 1), ("peak",)))


CHANGE_COLUMNS = (
    Column("part", "Part", "path", "what changed", 0),
    Column("what", "Change", "words", "how it changed", 1),
    Column("layers", "Layers", "count", "calls that it is about, of both models", 6),
    Column("macs_a", "A MACs", "count", "MACs there, before", 4, "macs", is_sum=True),
    Column("macs_b", "B MACs", "count", "MACs there, after", 3, "macs", is_sum=True),
    Column("macs_change", "+/- MACs", "count", "MACs after - before", 0, "macs", is_ratio=True),
    Column("params_a", "A params", "count", "parameters there, before", 5, "params", is_sum=True),
    Column("params_b", "B params", "count", "parameters there, after", 5, "params", is_sum=True),
    Column("params_change", "+/- params", "count", "parameters after - before", 2, "params", is_ratio=True),
)


def tabulate_changes(a: ProfileView, b: ProfileView) -> Table:
    """One row for each thing that changed, and one for all that stayed."""
    causes = find_causes(a, b)
    rows = [_row(one.part or "the model itself", one.what, one.layers, one.macs, one.params) for one in causes]
    macs, params = (tuple(getattr(view.total, key) for view in (a, b)) for key in ("macs", "params"))
    same = [tuple(whole[i] - sum(getattr(one, key)[i] for one in causes) for i in (0, 1))
            for whole, key in ((macs, "macs"), (params, "params"))]  # fmt: skip
    stays = Counter(view.call_key(row) for view in (a, b) for row in view.rows)
    if any(any(pair) for pair in same):
        rows.append(_row("(what stays)", None, sum(count == 2 for count in stays.values()), same[0], same[1]))
    unsure = a.bounds | b.bounds
    bounds = frozenset(f"{key}_{letter}" for key in ("macs", "params") for letter in "ab" if key in unsure)
    total = Row(_row("Total", None, None, macs, params).cells, "Total", bounds=bounds)
    title = f"Changes from A {a.name} to B {b.name}"
    return Table(title, CHANGE_COLUMNS, tuple(rows), total, folded=tuple(_fold(causes, rows[len(causes) :])))


def _fold(causes: Sequence[Cause], rest: Sequence[Row]) -> list[Row]:
    """Where there are many, the same done with the same effect in one row, and the smallest ones in a last one."""
    if len(causes) + len(rest) <= MAX_SHOWN_ROWS:
        return []
    groups: dict[tuple[object, ...], list[Cause]] = {}
    for one in causes:
        groups.setdefault((one.what, one.macs, one.params), []).append(one)
    told = [_sum_up(own, name_few([one.part for one in own], 1)) for own in groups.values()]
    if len(told) + len(rest) > MAX_SHOWN_ROWS:
        most = MAX_SHOWN_ROWS - len(rest) - 1
        small = [one for own in list(groups.values())[most:] for one in own]
        told = [*told[:most], replace(_sum_up(small, f"({len(small):,} other changes)"), what="")]
    return [*(_row(one.part, one.what or None, one.layers, one.macs, one.params) for one in told), *rest]


def _sum_up(causes: Sequence[Cause], name: str) -> Cause:
    summed = causes[0]
    for one in causes[1:]:
        summed = _merge(summed, one)
    return replace(summed, part=name)


def _row(part: str, what: str | None, layers: int | None, macs: Sequence[int], params: Sequence[int]) -> Row:
    return Row((part, what, layers, *macs, macs[1] - macs[0], *params, params[1] - params[0]))
