"""The ways to split one module over ranks: those that transformers names, and those of torch, in one record."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from archprof.errors import ArchprofError, UnknownName

WeightCut = Literal["columns", "rows", "experts", "none"]
"""Of the products that a weight makes, outputs are dealt or inputs; whole experts; or each rank has all."""

Given = tuple[Literal["replicate", "shard", "partial"], int]
"""How a plan says that a tensor lies, and along which dimension."""

REPLICATE: Given = ("replicate", 0)
LAST: Given = ("shard", -1)


class Style(NamedTuple):
    """How a module is split.

    Attributes:
        name: as the plan gives it.
        weights: how its weights are cut.
        input: how what goes in is said to lie.
        desired: how it has to lie for the module, which is brought about; `None`: as it comes.
        output: how what comes out has to lie; `None`: as it comes.
        packed: weights that lie in one, each cut for itself.
        is_local: what comes out is a plain tensor; otherwise a DTensor, whose gradient is reduced later.
        prepares: it only brings what goes in into place, for the modules within it.
        in_place: sums are made where the tensor lies, by the collectives of c10d.
        dispatches: tokens go to the ranks of their experts, and come back.
        reduces_gradients: gradients of its own parameters are summed.
    """

    name: str
    weights: WeightCut = "none"
    input: Given | None = None
    desired: Given | None = None
    output: Given | None = None
    packed: int = 1
    is_local: bool = True
    prepares: bool = False
    in_place: bool = False
    dispatches: bool = False
    reduces_gradients: bool = False

    @property
    def is_region(self) -> bool:
        """It changes how tensors lie that go in or come out."""
        return self.desired is not None or self.output is not None or self.in_place

    @property
    def is_for_experts(self) -> bool:
        """It deals out whole experts, over `ep`."""
        return self.weights == "experts" or self.dispatches


def _columns(name: str, output: Given | None = None, packed: int = 1, weights: WeightCut = "columns") -> Style:
    return Style(name, weights, REPLICATE, REPLICATE, output, packed)


def _rows(name: str, given: Given = LAST) -> Style:
    return Style(name, "rows", given, LAST, REPLICATE)


STYLES: Mapping[str, Style] = {
    style.name: style
    for style in (
        _columns("colwise"),
        _columns("colwise_rep", REPLICATE),
        _columns("colwise_gather_output", REPLICATE),
        _columns("packed_colwise", packed=2),
        _columns("embedding_colwise", REPLICATE),
        _rows("rowwise"),
        _rows("rowwise_rep", REPLICATE),
        _rows("rowwise_split_input", REPLICATE),
        Style("embedding_rowwise", "rows", REPLICATE, REPLICATE, REPLICATE),
        Style("packed_rowwise", "rows", packed=2),
        Style("sequence_parallel", "none", ("shard", 1), ("shard", 1)),
        Style("prepare_input", "none", REPLICATE, REPLICATE, is_local=False, prepares=True),
        Style("all_reduce", "none", output=REPLICATE),
        Style("moe_tp_experts", "none", REPLICATE, REPLICATE, REPLICATE, in_place=True),
        Style("replicated_with_grad_allreduce", reduces_gradients=True),
        Style("local_params"),
        Style("replicate"),
        Style("grouped_gemm", "experts"),
        Style("ep_dispatch_experts", output=REPLICATE, dispatches=True),
    )
}

UNFOLLOWED = ("mla_kv_a_proj", "moe_identity_expert")
"""Styles of transformers of which nothing is known here."""


def make_style(given: Any, pattern: str) -> Style:
    """A style of its name, or of a table of its name and what is different.

    Raises:
        ArchprofError: there is no such style or no such option.
    """
    if isinstance(given, str):
        return _find_style(given)
    if not isinstance(given, Mapping) or not isinstance(given.get("style"), str):
        raise ArchprofError(f"{pattern}: {given!r} is no style.", "A name, or a table with the key style.")
    return _change_style(_find_style(given["style"]), {key: one for key, one in given.items() if key != "style"})


def _find_style(name: str) -> Style:
    """By name; "packed_colwise(3)" says how many weights are packed."""
    match = re.fullmatch(r"(packed_\w+)\((\d{1,3})\)", name)
    if match and int(match[2]):
        return _find_style(match[1])._replace(name=name, packed=int(match[2]))
    if name not in STYLES:
        raise UnknownName("way to split a module", name, STYLES)
    return STYLES[name]


def _change_style(style: Style, options: Mapping[str, Any]) -> Style:
    for key, value in options.items():
        if key in ("input", "desired", "output"):
            style = style._replace(**{key: read_given(value)})  # type: ignore[arg-type]
        elif key == "local" and isinstance(value, bool):
            style = style._replace(is_local=value)
        else:
            raise ArchprofError(
                f"{style.name}: there is no option {key}={value!r}.", "Options: input, desired, output, local."
            )
    return style


def read_given(text: Any) -> Given:
    """ "replicate", "partial" or "shard(1)".

    Raises:
        ArchprofError: another text.
    """
    match = re.fullmatch(r"(replicate|partial)|shard\((-?\d)\)", text if isinstance(text, str) else "")
    if not match:
        raise ArchprofError(f"{text!r} does not say how a tensor lies.", "replicate, partial, or shard(1)")
    return ("shard", int(match[2])) if match[2] else (match[1], 0)  # type: ignore[return-value]
