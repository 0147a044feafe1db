"""What a decoder keeps from token to token, and what a token costs."""

from __future__ import annotations

from archprof.analysis.table import Column, Row, Table
from archprof.errors import UsageError
from archprof.facts.records import CacheTensor, Decoding, Profile, TensorSpec
from archprof.units import show_quantity

COLUMNS = (
    Column("layers", "Layers", "path", "which layers keep it", 0),
    Column("kept", "Kept", "text", "what is kept: keys, values, or a state of a recurrent layer", 0),
    Column("shape", "Shape", "text", "of one tensor: sequences x heads x tokens x width for keys and values", 1),
    Column("dtype", "Dtype", "text", "in which it is kept", 2),
    Column("tensors", "Tensors", "count", "how many of them", 2),
    Column("cache_bytes", "Bytes", "bytes", "their size together", 0),
)


def tabulate_cache(profile: Profile) -> Table:
    """The cache at the end of the context: a row for each run of layers that keep the same.

    Raises:
        UsageError: the pass was not one of a decoder's phases.
    """
    facts = profile.decoding
    if facts is None:
        raise UsageError(f"{profile.model} was traced in no phase.", "Phases: prefill, decode.")
    rows = [row for layers, tensors in _alike(facts.cache) for row in _rows(layers, tensors)]
    notes = (_kept(facts), _token(facts, profile))
    total = Row((None, None, None, None, len(facts.cache), facts.nbytes), name="Total")
    return Table(f"Cache of {profile.model} after {facts.context:,} tokens", COLUMNS, tuple(rows), total, notes)


def describe_phase(facts: Decoding, batch: int) -> str:
    """The phase in words."""
    each = "" if batch == 1 else f", {batch} sequences side by side"
    if facts.phase == "prefill":
        return f"Prefill: {facts.context:,} tokens at once into an empty cache{each}."
    return f"Decode: one token against a cache of {facts.context:,}{each}."


def _kept(facts: Decoding) -> str:
    layers = len({tensor.layer for tensor in facts.cache})
    more = (
        f"each further token adds {show_quantity(facts.growth, 'bytes')}"
        if facts.growth
        else "further tokens add nothing"
    )
    size = show_quantity(facts.nbytes, "bytes")
    return f"The cache of {facts.context:,} tokens takes {size} in {layers} layers; {more}."


def _token(facts: Decoding, profile: Profile) -> str:
    tokens = profile.batch * (facts.context if facts.phase == "prefill" else 1)
    macs, flops = (show_quantity(value / tokens, "count") for value in (profile.totals.macs, profile.totals.flops))
    least = "" if profile.totals.complete else "at least "
    return f"Per token: {least}{macs} MACs, {flops} FLOPs."


def _alike(cache: tuple[CacheTensor, ...]) -> list[tuple[list[int], list[CacheTensor]]]:
    """The layers that keep the same, and what one of them keeps."""
    kept: dict[int, list[CacheTensor]] = {}
    for tensor in cache:
        kept.setdefault(tensor.layer, []).append(tensor)
    groups: dict[tuple[tuple[str, TensorSpec], ...], list[int]] = {}
    for layer, tensors in kept.items():
        groups.setdefault(tuple((tensor.name, tensor.spec) for tensor in tensors), []).append(layer)
    return [(layers, kept[layers[0]]) for layers in groups.values()]


def _rows(layers: list[int], tensors: list[CacheTensor]) -> list[Row]:
    """A row for each tensor that a group of layers keeps."""
    return [
        Row((
            _named(layers),
            tensor.name.replace("_", " "),
            "×".join(map(str, tensor.spec.shape)),
            tensor.spec.dtype,
            len(layers),
            len(layers) * tensor.spec.nbytes,
        ))
        for tensor in tensors
    ]  # fmt: skip


def _named(layers: list[int]) -> str:
    """The layers in few words: "0-31", "0, 2, … 34", "5"."""
    if len(layers) < 3:
        return ", ".join(map(str, layers))
    if layers == list(range(layers[0], layers[-1] + 1)):
        return f"{layers[0]}-{layers[-1]}"
    return f"{layers[0]}, {layers[1]}, … {layers[-1]}"
