"""The names of the built-in definitions and what is known of each without building it. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from typing import Literal, NamedTuple, cast

from archprof.errors import UnknownName
from archprof.files import read_data_table

ErrorKind = Literal["single model", "competition entry"]


class PublishedError(NamedTuple):
    """An ImageNet error that somebody published.

    Attributes:
        top1_error, top5_error: in percent; `None` where not given.
        kind: of one net, or of a competition entry, which may average several nets and crops: not to be mixed.
        source: where the figure comes from.
    """

    top1_error: float | None
    top5_error: float
    kind: ErrorKind
    source: str


@dataclass(frozen=True, slots=True)
class BuiltinModel:
    """One built-in definition.

    Attributes:
        name: what a user types.
        builder: its function as "family:function"; see `definitions.find_builder`.
        input: its default input in the grammar of `--input`, without the batch dimension.
        depth: layers with weights on the way from input to output; projections of shortcuts and norms do not count.
        year: when the architecture was published; `None` for variants made for teaching and for those with batch norm.
        about: one line: what it is, which variant.
        torchvision: the torchvision model of the same parameter names, if any.
    """

    name: str
    builder: str
    input: str
    depth: int
    year: int | None
    about: str
    torchvision: str | None = None

    @property
    def published(self) -> tuple[PublishedError, ...]:
        """Published ImageNet errors of this net alone, then of the competition entry of its architecture."""
        return tuple(row for name, row in _load_published() if name in (self.name, self.torchvision))

    @property
    def top1_error(self) -> float | None:
        """In percent, of the first published figure."""
        return self.published[0].top1_error if self.published else None

    @property
    def top5_error(self) -> float | None:
        """In percent, of the first published figure."""
        return self.published[0].top5_error if self.published else None

    @property
    def is_competition_entry(self) -> bool:
        """The first published figure is of a competition entry, which may average several nets."""
        return bool(self.published) and self.published[0].kind == "competition entry"

    @property
    def source(self) -> str:
        """What the first published figure is and where it comes from; "" where there is none."""
        return f"{self.published[0].kind}: {self.published[0].source}" if self.published else ""


def list_builtin_names() -> tuple[str, ...]:
    """Every built-in name, a family after the other."""
    return tuple(BUILTIN_MODELS)


def matches(name: str, pattern: str) -> bool:
    """Whether a name contains `pattern`, or matches it where it has a `*` or `?`."""
    return fnmatchcase(name, pattern) if any(sign in pattern for sign in "*?[") else pattern in name


def match_builtins(pattern: str) -> tuple[BuiltinModel, ...]:
    """The entries whose name contains `pattern`, or matches it where it has a `*` or `?`; all of them for "".

    Raises `UnknownName` when there is none.
    """
    found = tuple(entry for name, entry in BUILTIN_MODELS.items() if matches(name, pattern))
    if not found:
        raise UnknownName("built-in model", pattern, BUILTIN_MODELS, "`archprof models` lists them.")
    return found


def _read_builtin(row: dict[str, str]) -> BuiltinModel:
    return BuiltinModel(
        name=row["name"],
        builder=row["builder"],
        input=row["input"],
        depth=int(row["depth"]),
        year=int(row["year"]) if row["year"] else None,
        about=row["about"],
        torchvision=row["torchvision"] or None,
    )


@cache
def _load_published() -> tuple[tuple[str, PublishedError], ...]:
    """(name, figure) of data/published.csv, in its order."""
    return tuple((row["name"], _read_published(row)) for row in read_data_table("published.csv"))


def _read_published(row: dict[str, str]) -> PublishedError:
    top1 = float(row["top1_error"]) if row["top1_error"] else None
    return PublishedError(top1, float(row["top5_error"]), cast(ErrorKind, row["kind"]), row["source"])


BUILTIN_MODELS = {row["name"]: _read_builtin(row) for row in read_data_table("models.csv")}
"""Every built-in definition by its name: data/models.csv."""
