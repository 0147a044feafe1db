"""The sentences of pages, computed again from what a profile holds, by code that shares nothing with the package."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest

import archprof

P = r"(over \d+%|under \d+%|\d+%|none|no)"
N = r"([\d.,]+(?: [kKMGTP]i?B?| B)?)"
X = r"([\d.,]+)x"
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
FACTORS = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


class Facts:
    """A profile as JSON, read here by its columns and nothing else; of its facts only ops and tensors as they were."""

    def __init__(self, profile: archprof.Profile) -> None:
        self.profile, self.name, self.json = profile, profile.model, json.loads(profile.to_json())
        self.layers, self.totals = self.json["layers"], self.json["totals"]

    def inside(self, path: str) -> list[dict[str, Any]]:
        return [layer for layer in self.layers if layer["path"] == path or layer["path"].startswith(f"{path}.")]

    def share(self, layers: list[dict[str, Any]], key: str) -> str:
        if key == "activations":
            part = sum(layer["activation_bytes"]["float32"] for layer in layers)
            return percent(part, self.totals["activation_bytes"]["float32"])
        return percent(sum(layer[key] for layer in layers), self.totals[key])

    def named(self, rows: tuple[str, ...]) -> list[dict[str, Any]]:
        """The layers of rows of the table, by path and number of the call."""
        found = []
        for row in rows:
            path, _, call = row.removesuffix(" (own)").removeprefix("(model)").partition(" #")
            number = int(call or 1) - 1
            found.append(next(one for one in self.layers if one["path"] == path and (one["call"] or 0) == number))
        return found

    def total(self, key: str) -> float:
        return self.totals["activation_bytes"]["float32"] if key == "activations" else self.totals[key]

    def macs_at(self, sizes: Sequence[str]) -> int:
        """MACs of the layers whose results have one of these resolutions."""

        def size(layer: dict[str, Any]) -> str:
            shape = (layer["output_shapes"] or [[]])[0]
            return "x".join(map(str, shape[2:])) if len(shape) == 4 else "vector"

        return sum(layer["macs"] for layer in self.layers if size(layer) in sizes)

    def moved(self, layers: list[dict[str, Any]] | None = None) -> int:
        """Bytes that ops read and write, by the sizes of their tensors; what is only another view moves none."""
        wanted = None if layers is None else {(one["path"], one["call"] or 0) for one in layers}
        moved = 0
        for op in self.profile.forward_ops:
            row = self.profile.layers[self.profile.row_of(op)]
            if wanted is None or (row.path, row.call or 0) in wanted:
                moved += op.bytes_moved
        return moved

    def seconds(self, layers: list[dict[str, Any]]) -> float:
        return sum(one["latency_seconds"]["p50"] for one in layers if one["latency_seconds"])


def number(text: str) -> tuple[float, float]:
    """The number that a text says, and half of what its last digit stands for."""
    digits, _, unit = text.partition(" ")
    decimals = len(digits.partition(".")[2])
    return float(digits.replace(",", "")) * FACTORS[unit], 0.5 * 10.0**-decimals * FACTORS[unit]


def says(text: str, value: float) -> bool:
    """Whether a text is the value, rounded to its last digit."""
    said, half = number(text)
    return abs(said - value) <= half * 1.0001


def percent(part: float, whole: float) -> str:
    share = part / whole
    if not part:
        return "none"
    return "under 1%" if share < 0.01 else "over 99%" if 0.99 < share < 1 else f"{share:.0%}"


def check_heavy(facts: Facts, rows: tuple[str, ...], part: str, macs: str, params: str, made: str, *more: str) -> None:
    inside = facts.inside(part)
    assert [facts.share(inside, key) for key in ("macs", "params", "activations")] == [macs, params, made]
    assert int(re.sub(r"\D", "", macs)) >= 50
    assert part in rows
    if more[0]:
        below = [layer for layer in inside if re.fullmatch(rf"{re.escape(part)}\.[^.]+", layer["path"])]
        blocks = {layer["path"]: layer["kind"] for layer in inside if layer["path"].count(".") == part.count(".") + 1}
        assert not below or (len(blocks), set(blocks.values())) == (whole(more[0]), {more[1]})


def check_holder(facts: Facts, rows: tuple[str, ...], part: str, params: str, macs: str) -> None:
    inside = facts.inside(part)
    assert [facts.share(inside, key) for key in ("params", "macs")] == [params, macs]


def whole(text: str) -> int:
    """ "six", "1,204"."""
    return int(text.replace(",", "")) if text[0].isdigit() else NUMBERS.index(text.lower())


def check_calls(facts: Facts, rows: tuple[str, ...], count: str, path: str, macs: str, each: str, params: str) -> None:
    """Calls of one module, each with what it calls; its weights count once."""
    inside = facts.inside(path)
    calls = [one for one in inside if one["path"] == path]
    assert {row.partition(" #")[0] for row in rows} == {path}
    assert len(rows) == len(calls) == whole(count)
    assert says(each, sum(one["macs"] for one in inside) / len(calls))
    assert [facts.share(inside, key) for key in ("macs", "params")] == [macs, params]


def check_equal(facts: Facts, rows: tuple[str, ...], count: str, kind: str, macs: str, each: str, params: str) -> None:
    blocks = [facts.inside(row) for row in rows]
    assert len(rows) == whole(count)
    assert says(each, sum(layer["macs"] for layer in blocks[0]))
    assert {block[0]["kind"] for block in blocks} == {kind}
    assert len({sum(layer["macs"] for layer in block) for block in blocks}) == 1
    together = [layer for block in blocks for layer in block]
    assert [facts.share(together, key) for key in ("macs", "params")] == [macs, params]


def check_hot(facts: Facts, rows: tuple[str, ...], share: str, few: str, many: str) -> None:
    spent = sorted((layer["macs"] for layer in facts.layers if layer["macs"]), reverse=True)
    named = [layer["macs"] for layer in facts.named(rows)]
    assert sorted(named, reverse=True) == spent[: len(rows)]
    assert share.lower() == percent(sum(named), facts.totals["macs"])
    assert many in (f"{len(spent):,}", NUMBERS[len(spent)] if len(spent) < 10 else "")
    assert 4 * len(rows) <= len(spent)


def check_only(facts: Facts, rows: tuple[str, ...], where: str) -> None:
    assert sum(layer["macs"] > 0 for layer in facts.layers) == 1


def check_early(facts: Facts, rows: tuple[str, ...], share: str, params: str) -> None:
    assert facts.share(facts.named(rows), "activations") == share.lower()
    assert params is None or facts.share(facts.named(rows), "params") == params


def check_unread(facts: Facts, rows: tuple[str, ...], count: str, share: str) -> None:
    named = facts.named(rows)
    assert facts.share(named, "params") == share
    assert says(count, sum(layer["params"] for layer in named))
    assert all(not layer["macs"] and not layer["flops"] for layer in named)


def check_moved(facts: Facts, rows: tuple[str, ...], share: str, flops: str) -> None:
    named = facts.named(rows)
    assert facts.share(named, "flops") == flops
    assert percent(facts.moved(named), facts.moved()) == share
    assert int(re.sub(r"\D", "", share)) >= 70


def check_absent(facts: Facts, rows: tuple[str, ...], what: str) -> None:
    key = {"parameters": "params", "MACs": "macs"}[what]
    assert facts.totals[key] == 0


def check_latency(facts: Facts, rows: tuple[str, ...], share: str, few: str) -> None:
    named, whole = facts.named(rows), facts.profile.measurement.latencies[0].whole.p50  # type: ignore[union-attr]
    assert NUMBERS.index(few) == len(rows)
    assert percent(facts.seconds(named), whole) == share
    called = [one for one in facts.layers if one["latency_seconds"]]
    largest = sorted((one["latency_seconds"]["p50"] for one in called), reverse=True)
    assert facts.seconds(named) == sum(largest[: len(rows)])


def check_slow_kind(facts: Facts, rows: tuple[str, ...], time: str, flops: str) -> None:
    named = facts.named(rows)
    kinds = {layer["kind"] for layer in named}
    assert len(kinds) == 1
    assert {one["path"] for one in facts.layers if one["kind"] in kinds} == {one["path"] for one in named}
    assert facts.share(named, "flops") == flops
    assert int(re.sub(r"\D", "", time)) > int(re.sub(r"\D", "", flops) or 0)


def check_unstable(facts: Facts, rows: tuple[str, ...], said: str, low: str, high: str, unit: str) -> None:
    rounds = facts.profile.measurement.latencies[0].whole.rounds  # type: ignore[union-attr]
    factor = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1}[unit]
    samples = [seconds for samples in rounds for seconds in samples]
    middle = float(said.replace(",", "")) * factor
    assert min(samples) <= middle * 1.5
    assert middle <= max(samples) * 1.5


def check_few_rounds(facts: Facts, rows: tuple[str, ...], said: str, rounds: str) -> None:
    measured = facts.profile.measurement.latencies[0].whole  # type: ignore[union-attr]
    assert len(measured.rounds) == NUMBERS.index(rounds)
    amount, unit = said.split(" ")
    assert float(amount.replace(",", "")) * SECONDS[unit] == pytest.approx(measured.p50, rel=0.01)


def check_unknown(facts: Facts, rows: tuple[str, ...], count: str) -> None:
    assert not facts.totals["complete"]
    assert len(facts.json["unknown_ops"]) == int(count)


SENTENCES: dict[str, Callable[..., None]] = {
    rf"(.+) spends {P} of the MACs of .+, holds {P} of its parameters and makes {P} of its activations"
    r"(?:, in its (\w+) (\w+) blocks)?\.": check_heavy,
    rf"(.+) holds {P} of the parameters of .+ and spends {P} of its MACs\.": check_holder,
    rf"(\S+) equal (\w+) blocks spend {P} of the MACs of .+, ([\d.,]+ ?\w?) each, and hold {P} of its parameters\.":
        check_equal,
    rf"(\S+) equal calls of (\S+) spend {P} of the MACs of .+, ([\d.,]+ ?\w?) each, and hold {P} of its parameters\.":
        check_calls,
    rf"(?i:{P}) of the MACs of .+ are spent in (\w+) of its ([\d,]+|\w+) (?:calls of )?layers with MACs\.": check_hot,
    r"All MACs of .+ are spent in (.+)\.": check_only,
    rf"(?i:{P}) of the activation memory of .+ is made .+, by layers with(?:out)? (?:{P} of the )?parameters\.":
        check_early,
    rf"([\d.,]+(?: \w)?) parameters of .+, {P} of all, are weights of .+ that no op of this pass reads\.": check_unread,
    rf"{P} of the bytes that .+ moves are moved by layers with {P} of its FLOPs, which compute under 10 a byte\.":
        check_moved,
    r".+ has no (parameters)\.": check_absent,
    r".+ multiplies no matrices and convolves nothing: it has no (MACs)\.": check_absent,
    rf"{P} of the latency of .+ is spent in (\w+) of (?:[\d,]+|\w+) layers?\.": check_latency,
    rf"[\w,]+ (?:\w+ )?layers? takes? {P} of the latency with {P} of the FLOPs\.": check_slow_kind,
    r"The latency of .+, ([\d.,]+ \w+), is of (one|two) rounds?: too few to see whether they agree\.": check_few_rounds,
    r"The MACs and FLOPs of .+ are lower bounds: no cost rule covers (\d+) ops? of it\.": check_unknown,
    r"The latency of .+ is unstable: ([\d.,]+) \[([\d.,]+), ([\d.,]+)\] (\w+) over its rounds\.": check_unstable,
}  # fmt: skip
"""What a page says of one model."""


# Of several models: the facts of those that a sentence speaks of, by their names.

Named = dict[str, Facts]


def check_ratio(named: Named, large: str, times: str, small: str, a: str, b: str, *params: str) -> None:
    big, less = named[large], named[small]
    assert says(times, big.total("macs") / less.total("macs"))
    assert says(a, big.total("macs"))
    assert says(b, less.total("macs"))
    if params[0]:
        assert says(params[0], big.total("params") / less.total("params"))
        assert says(params[1], big.total("params"))
        assert says(params[2], less.total("params"))


def check_params_ratio(named: Named, large: str, times: str, small: str, a: str, b: str) -> None:
    assert says(times, named[large].total("params") / named[small].total("params"))
    assert says(a, named[large].total("params"))
    assert says(b, named[small].total("params"))


def check_beaten(named: Named, better: str, worse: str, macs: str, params: str, points: str, times: str | None) -> None:
    good, bad = named[better], named[worse]
    assert says(macs, bad.total("macs") / good.total("macs"))
    assert says(params, bad.total("params") / good.total("params"))
    assert says(points, ERRORS[worse] - ERRORS[better])
    assert ERRORS[better] < ERRORS[worse]
    ratio = good.total("activations") / bad.total("activations")
    assert says(times, ratio) if times else ratio <= 1


def check_errors(named: Named, better: str, a: str, b: str, worse: str, times: str) -> None:
    assert says(a, ERRORS[better])
    assert says(b, ERRORS[worse])
    assert says(times, named[better].total("macs") / named[worse].total("macs"))


def check_where(named: Named, share: str, large: str, small: str, place: str, a: str, b: str) -> None:
    sizes, big, less = re.findall(r"\d+x\d+", place) or ["vector"], named[large], named[small]
    more = big.macs_at(sizes) - less.macs_at(sizes)
    assert says(a, big.macs_at(sizes))
    assert says(b, less.macs_at(sizes))
    assert share == percent(more, big.total("macs") - less.total("macs"))


def check_more_there(named: Named, large: str, more: str, small: str, place: str, fewer: str) -> None:
    sizes, big, less = re.findall(r"\d+x\d+", place) or ["vector"], named[large], named[small]
    gap = big.macs_at(sizes) - less.macs_at(sizes)
    assert says(more, gap)
    assert says(fewer, gap - (big.total("macs") - less.total("macs")))


def check_memory(
    named: Named, large: str, times: str, small: str, a: str, b: str, dtype: str, other: str | None, fewer: str
) -> None:
    big, less = (named[name].totals["activation_bytes"][one] for name, one in ((large, dtype), (small, other or dtype)))
    assert [named[name].profile.dtype for name in (large, small)] == [dtype, other or dtype]
    assert says(times, big / less)
    assert says(a, big)
    assert says(b, less)
    assert bool(fewer) == (named[large].total("macs") < named[small].total("macs"))


def check_depths(named: Named, deep: str, a: str, b: str, flat: str, times: str | None) -> None:
    assert says(a, DEPTHS[deep])
    assert says(b, DEPTHS[flat])
    if times:
        assert says(times, named[deep].total("macs") / named[flat].total("macs"))


def check_fields(named: Named, wide: str, a: str, narrow: str, b: str) -> None:
    """Before all are mixed: of the last layer that slides a window or pools."""
    for name, text in ((wide, a), (narrow, b)):
        fields = [one["receptive_field"] or {} for one in named[name].layers]
        sizes = [max(seen) for one in fields for key in ("size", "local") if (seen := one.get(key))]
        assert says(text, max(sizes))


def check_concentrated(named: Named, share: str, name: str, count: str, kind: str) -> None:
    kinds = {"linear": "Linear", "convolution": "Conv2d"}
    for one in re.split(r",? and of |, of ", name):
        facts = named[one]
        own = [layer for layer in facts.layers if layer["kind"] == kinds.get(kind, kind) and layer["params"]]
        assert len(own) == NUMBERS.index(count)
        assert facts.share(own, "params") == share


def check_early_stages(named: Named, share: str, name: str, place: str, params: str) -> None:
    assert share.lower() == percent(made_at(named[name], place, "activations"), named[name].total("activations"))
    assert params is None or params == percent(made_at(named[name], place, "params"), named[name].total("params"))


def made_at(facts: Facts, place: str, key: str) -> float:
    """Of all layers up to the last one of these resolutions."""
    sizes = re.findall(r"\d+x\d+", place)
    found = [i for i, one in enumerate(facts.layers)
             if one["output_shapes"] and "x".join(map(str, one["output_shapes"][0][2:])) in sizes]  # fmt: skip
    own = [facts.layers[i] for i in found]
    return sum(one["activation_bytes"]["float32"] if key == "activations" else one[key] for one in own)


def check_inputs(named: Named, groups: str) -> None:
    """What is not alike in all of them is said of each, and nothing else."""
    facts = {name: one.profile for name, one in named.items()}
    passes = {name: (", ".join(one.inputs), f"batch {one.batch}", one.dtype, one.mode) for name, one in facts.items()}
    different = [at for at, parts in enumerate(zip(*passes.values(), strict=True)) if len(set(parts)) > 1]
    assert different
    for group in groups.split("; "):
        words, _, names = group.rpartition(" for ")
        for name in re.split(r", | and ", names):
            assert all(one in words for at, one in enumerate(passes[name]) if at in different)


def middle_of(facts: Facts) -> float:
    """Seconds of the whole pass, measured or else predicted."""
    profile = facts.profile
    if profile.measurement:
        return profile.measurement.latencies[0].whole.p50
    assert profile.prediction
    return profile.prediction.whole[0]


def check_alike_times(named: Named, slow: str, fast: str, *more: str) -> None:
    """What is said first takes no less; intervals that touch do not tell them apart."""
    assert middle_of(named[slow]) >= middle_of(named[fast])
    assert float(more[0].replace(",", "")) * SECONDS[more[2]] <= float(more[4].replace(",", "")) * SECONDS[more[5]]


def check_slower(named: Named, slow: str, times: str, fast: str, *more: str) -> None:
    assert says(times, middle_of(named[slow]) / middle_of(named[fast]))


def check_longer(named: Named, slow: str, fast: str, *more: str) -> None:
    assert middle_of(named[slow]) > middle_of(named[fast])


SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1}

T = r"[\d.,]+ (?:\[([\d.,]+), ([\d.,]+)\] )?(\w+)(?: \(one round\))?"

ERRORS = {"alexnet": 20.934, "vgg11": 11.372, "vgg16": 9.618, "resnet18": 10.922, "resnet34": 8.580, "resnet50": 7.138,
    "resnet101": 6.454, "resnet152": 5.954, "torchvision:swin_t": 4.224, "torchvision:vit_b_16": 4.682}  # fmt: skip
"""100 less the acc@5 that torchvision publishes of the first weights of each."""

DEPTHS = {"alexnet": 8, "vgg11": 11, "vgg16": 16, "resnet18": 18, "resnet34": 34, "resnet50": 50, "resnet101": 101,
    "resnet152": 152, "hf:llama-2-7b": 4 * 32 + 1, "hf:mixtral-8x7b": 5 * 32 + 1,
    "torchvision:fasterrcnn_resnet50_fpn": 49 + 2 + 2 + 3, "hf:gpt2": 49, "torchvision:swin_t": 53,
    "torchvision:vit_b_16": 50}  # fmt: skip
"""As their papers count them; of a transformer four products a block (queries, keys and values are one step), the
embedding of patches and the head: 12 x 4 + 1 of GPT-2, + 2 of ViT-B/16; of Swin-T with three mergings of patches. Of
Mixtral the router is a fifth. Of Faster R-CNN what is convolved of ResNet-50, two of the pyramid, two that propose, and
three of the head."""

M = r"(\S+)"

PAIRS: dict[str, Callable[..., None]] = {
    rf"{M} dominates {M}: {X} fewer MACs, {X} fewer parameters, ([\d.]+) points less top-5 error"
    rf"(?:, though its activations take {X} the memory)?\.":
        check_beaten,
    rf"{M} spends {X} the MACs of {M} \({N} against {N}\)(?: with {X} its parameters \({N} against {N}\))?\.":
        check_ratio,
    rf"{M} has {X} the parameters of {M} \({N} against {N}\)(?: for (?:about )?the same number of MACs)?\.":
        check_params_ratio,
    rf"{M} was published with a top-5 error of ([\d.]+)% against ([\d.]+)% of {M}, for {X} the MACs\.": check_errors,
    rf"{P} of the MACs that {M} spends beyond {M} are spent (at .+): {N} against {N}\.": check_where,
    rf"{M} spends {N} MACs more than {M} (at .+), and {N} fewer in the rest of the net\.": check_more_there,
    rf"The activations of {M} take {X} the memory of those of {M} \({N} against {N} in (\w+)(?: and (\w+))?\)"
    r"(, though it spends fewer MACs)?\.": check_memory,
    rf"{M} is {N} weight layers? deep against {N} of {M}(?:, for (?:{X} the|(?:about )?the same number of) MACs)?\.":
        check_depths,
    rf"{M} sees {N} pixels along a side before all are mixed, {M} {N}\.": check_fields,
    rf"{P} of the parameters of (.+) sit in (\w+) (\w+) layers?\.": check_concentrated,
    rf"{P} of the activation memory of {M} is made (at .+), by layers with(?:out)? (?:{P} of the )?parameters\.":
        check_early_stages,
    rf"{M} and {M} cannot be told apart in (?:predicted )?time: {T} (?:and|against) {T}(?:, predicted on .+)?\.":
        check_alike_times,
    rf"{M} takes longer than {M} \({T} against {T}\); unstable, so that by how much is not known\.": check_longer,
    rf"{M} takes {X} the time of {M} \({T} against {T}\)(?:, for [^.]+(?:\.\d+x)? the MACs)?\.": check_slower,
    rf"{M} should take {X} the time of {M}: {T} against {T}(?:, predicted on .+)?\.": check_slower,
    r"The passes differ, which is part of every ratio: (.+?)\.(?: Pixels and tokens are not set beside each other\.)?":
        check_inputs,
    r"The MACs and FLOPs of (\S+) are lower bounds: no cost rule covers (\d+) ops? of it\.":
        lambda named, name, count: check_unknown(named[name], (), count),
}  # fmt: skip
"""What a page says of several."""


Versions = tuple[Facts, Facts]


def check_total(versions: Versions, share: str, what: str, before: str, after: str, *causes: str) -> None:
    old, new = (one.totals[{"MACs": "macs", "parameters": "params"}[what]] for one in versions)
    check_share(share, before, after, old, new)
    signed = [number(text)[0] * sign for text, sign in read_signed(causes[0] or "")]
    if signed and "more" not in causes[0]:
        assert sum(signed) == pytest.approx(new - old, rel=0.01)


def check_share(share: str, before: str, after: str, old: int, new: int) -> None:
    assert says(before, old)
    assert says(after, new)
    assert float(share) == pytest.approx(100 * (new - old) / old, abs=0.051)


def read_signed(text: str) -> list[tuple[str, int]]:
    return [(size, -1 if sign == "-" else 1) for sign, size in re.findall(rf"\(([+-]){N}\)", text)]


def check_peak_change(versions: Versions, share: str, before: str, after: str) -> None:
    check_share(share, before, after, *(find_peak(one.profile) for one in versions))


def find_peak(profile: archprof.Profile) -> int:
    """The most bytes of storages that are there while an op runs."""
    last = len(profile.ops)
    lives = [(one.born or 0, last if one.died is None else one.died, one.nbytes) for one in profile.storages]
    return max(sum(size for born, died, size in lives if born <= at <= died) for at in range(last))


def check_grown(versions: Versions) -> None:
    old, new = versions
    assert all(new.total(key) > old.total(key) for key in ("macs", "params", "activations"))


def check_same_costs(versions: Versions, causes: str) -> None:
    old, new = versions
    assert (old.totals["macs"], old.totals["params"]) == (new.totals["macs"], new.totals["params"])
    paths = [{layer["path"] for layer in one.layers} for one in versions]
    renamed = re.fullmatch(r"(\S+) is now (\S+)", causes)
    assert renamed
    assert [paths[0] - paths[1], paths[1] - paths[0]] == [{renamed[1]}, {renamed[2]}]


def check_nothing(versions: Versions, *names: str) -> None:
    old, new = versions
    assert old.totals == new.totals
    assert old.layers == new.layers


CHANGES: dict[str, Callable[..., None]] = {
    rf"([+-][\d.]+)% (MACs|parameters) \({N} to {N}\)(: .+)?\.": check_total,
    rf"([+-][\d.]+)% peak memory \({N} to {N}\)\.": check_peak_change,
    r"Everything grows: MACs, parameters and activations\.": check_grown,
    r"MACs and parameters stay: (.+)\.": check_same_costs,
    r"Nothing changed: (\S+) and (\S+) cost the same\.": check_nothing,
}
"""What a page says of two versions."""


def check_change(profiles: Sequence[archprof.Profile], text: str) -> None:
    """A sentence about what changed."""
    tried = [(check, re.fullmatch(pattern, text)) for pattern, check in CHANGES.items()]
    check, found = next((pair for pair in tried if pair[1]), (None, None))
    assert check, text
    assert found, text
    check((Facts(profiles[0]), Facts(profiles[1])), *found.groups())


def check_alone(profile: archprof.Profile, text: str, rows: tuple[str, ...]) -> None:
    """A sentence about one model; one that no pattern knows fails."""
    tried = [(check, re.fullmatch(pattern, text)) for pattern, check in SENTENCES.items()]
    check, found = next((pair for pair in tried if pair[1]), (None, None))
    assert check, text
    assert found, text
    check(Facts(profile), rows, *found.groups())


def check_pair(profiles: Sequence[archprof.Profile], text: str) -> None:
    """A sentence about several."""
    tried = [(check, re.fullmatch(pattern, text)) for pattern, check in PAIRS.items()]
    check, found = next((pair for pair in tried if pair[1]), (None, None))
    assert check, text
    assert found, text
    check({profile.model: Facts(profile) for profile in profiles}, *found.groups())
