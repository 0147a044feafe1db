"""A way to make a model, before it is made; and making it with clear errors."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from archprof.errors import ArchprofError, UsageError


class UnavailableError(ArchprofError):
    """A package that holds models is not installed, or cannot be imported."""


def explain_import_error(package: str, error: BaseException) -> UnavailableError:
    """Why a package cannot be imported: it is not there, or it raises."""
    if isinstance(error, ModuleNotFoundError) and error.name == package:
        return UnavailableError(f"{package} is not installed.", "", f"Try: pip install {package}")
    return UnavailableError(f"{package} cannot be imported: {type(error).__name__}: {error}")


def no_inputs(model: nn.Module, batch: int) -> None:
    """The default inputs of a model that has none."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a name stands for.

    Attributes:
        factory: makes the model when called with `kwargs`.
        kwargs: what the user gave, and what the place adds to it.
        inputs: the default inputs of the model made, for a batch of so many; `None`: it has none.
        reserved: the keywords that the place fills, which are not the user's to give.
    """

    factory: Callable[..., Any]
    kwargs: dict[str, Any] = field(default_factory=dict)
    inputs: Callable[[nn.Module, int], Any] = no_inputs
    reserved: tuple[str, ...] = ()

    def make(self) -> Any:
        return self.factory(**self.kwargs)


def check_recipe_arguments(name: str, offer: Recipe) -> None:
    """`UsageError` if the factory needs arguments that are not given, or does not know one that is."""
    try:
        parameters = inspect.signature(offer.factory).parameters.values()
    except (TypeError, ValueError):  # some classes written in C have no signature
        return
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    only_position = [p.name for p in parameters if p.kind is p.POSITIONAL_ONLY and p.default is p.empty]
    missing = [p.name for p in named if p.default is p.empty and p.name not in offer.kwargs]
    if only_position:
        raise UsageError(f"{name} takes {', '.join(only_position)} by position.", "", "Wrap it in a factory.")
    if missing:
        call = ", ".join([f"{key}={value!r}" for key, value in offer.kwargs.items()] + [f"{key}=…" for key in missing])
        name = name.partition("(")[0]
        raise UsageError(f"{name} cannot be built without: {', '.join(missing)}.", "", f"Try: {name}({call})")
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        for keyword in offer.kwargs:
            if keyword not in [p.name for p in named]:
                raise make_unknown_keyword_error(name, keyword, [p.name for p in named if p.name not in offer.reserved])


def make_unknown_keyword_error(name: str, keyword: str, allowed: list[str]) -> UsageError:
    near = difflib.get_close_matches(keyword, allowed, n=1)
    return UsageError(
        f"{name} takes no argument {keyword!r}.",
        f"It takes: {', '.join(allowed)}." if allowed else "It takes none.",
        f"Did you mean {near[0]}=?" if near else "",
    )


def explain_build_error(name: str, offer: Recipe, error: BaseException) -> ArchprofError:
    """The error of a factory that did not come to its end, said clearly."""
    refused = re.match(r"(?:(\w+)\.__init__|\w+)\(\) got an unexpected keyword argument '(\w+)'", str(error))
    if isinstance(error, TypeError) and refused and refused[2] in offer.kwargs:
        return make_unknown_keyword_error(name, refused[2], _accepted_keywords(offer, refused[1]))
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return ArchprofError(f"{name} could not be built: {what}", "", "--debug shows where it was raised.")


def _accepted_keywords(offer: Recipe, owner: str | None) -> list[str]:
    """What a factory takes, and the class `owner` to which it hands on the rest."""
    sources = [offer.factory, getattr(inspect.unwrap(offer.factory), "__globals__", {}).get(owner)]
    names: dict[str, None] = {}
    for source in filter(callable, sources):
        for parameter in inspect.signature(source).parameters.values():
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                names[parameter.name] = None
    return [name for name in names if name not in offer.reserved]
