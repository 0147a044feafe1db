"""Built-in models by a pattern; where none has such a name, which zoo does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from archprof.errors import UnknownName
from archprof.models import registry
from archprof.models.registry import BuiltinModel
from archprof.sources.recipe import UnavailableError
from archprof.sources.timm_zoo import list_timm_names
from archprof.sources.torchvision_zoo import list_torchvision_names
from archprof.wording import name_few

ZOOS = {"torchvision": list_torchvision_names, "timm": list_timm_names}

SHOWN_NAMES = 6
"""Names that a pointer to a zoo gives."""


def match_builtins(pattern: str) -> tuple[BuiltinModel, ...]:
    """`registry.match_builtins`, whose error says which zoo has models of that name."""
    try:
        return registry.match_builtins(pattern)
    except UnknownName as error:
        pointers = "\n".join([error.hint, *_point_to_zoos(pattern)])
        raise UnknownName("built-in model", pattern, error.known, pointers) from None


def _point_to_zoos(pattern: str) -> Iterator[str]:
    for zoo, list_names in ZOOS.items():
        with suppress(UnavailableError):
            found = [name for name in list_names() if registry.matches(name, pattern)]
            if found:
                yield f"{zoo} has {name_few(found, SHOWN_NAMES)}: archprof table {zoo}:{found[0]}"
