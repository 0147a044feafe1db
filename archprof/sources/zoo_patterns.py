"""The models that a word names: one, or all those of a zoo that a pattern such as `timm:convnext*` matches."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase

from archprof import files
from archprof.errors import UnknownName, UsageError
from archprof.models import registry
from archprof.models.block_grammar import looks_like_blocks
from archprof.sources.model_grammar import parse_model
from archprof.sources.source_identity import WEIGHT_SUFFIXES
from archprof.sources.timm_zoo import list_timm_names
from archprof.sources.torchvision_zoo import list_torchvision_names
from archprof.sources.zoo_names import match_builtins

PATTERN_SIGNS = "*?["


def _list_hf_names() -> list[str]:
    from archprof.sources.hf.configs import list_hf_names

    return list_hf_names()


ZOO_NAMES: dict[str, Callable[[], list[str]]] = {
    "torchvision": list_torchvision_names,
    "timm": list_timm_names,
    "hf": _list_hf_names,
}


def expand_models(words: Iterable[str]) -> list[str]:
    """The names of the models that the words name, in their order, each once.

    Raises:
        UsageError: a word names nothing, or is of no grammar; what a user's own file holds is not looked at.
    """
    return list(dict.fromkeys(name for word in words for name in _expand_word(word)))


def _expand_word(word: str) -> list[str]:
    _check_word(word)
    head, paren, call = word.partition("(")
    if looks_like_blocks(word) or not any(sign in head for sign in PATTERN_SIGNS):
        _check_name(word)
        return [word]
    zoo, colon, pattern = head.rpartition(":")
    if not colon:
        return [entry.name + paren + call for entry in match_builtins(head)]
    if zoo not in ZOO_NAMES:
        return [word]
    found = [name for name in ZOO_NAMES[zoo]() if fnmatchcase(name, pattern)]
    if not found:
        raise UnknownName(f"{zoo} model", pattern, ZOO_NAMES[zoo](), near=_find_near(pattern, ZOO_NAMES[zoo]()))
    return [f"{zoo}:{name}{paren}{call}" for name in found]


def _check_word(word: str) -> None:
    if not isinstance(word, str):
        raise UsageError(
            f"A sweep cannot hold a model of type {type(word).__name__}.",
            "It asks other processes, so that a model is a name: vgg16, timm:convnext*, net.py:Net.",
        )
    if "\0" in word:
        raise UsageError(f"{word!r} names no model.", "No name and no path has a null byte in it.")
    if files.is_profile_path(word):
        raise UsageError(f"{word} is a saved profile, traced at one setting.", "", "Name the model itself.")


def _check_name(word: str) -> None:
    """Raise for a name of a zoo that is none, before there is any work."""
    if looks_like_blocks(word) or word.endswith(WEIGHT_SUFFIXES):
        return
    spec = parse_model(word)
    if spec.where == "" and spec.name not in registry.BUILTIN_MODELS:
        from archprof.sources.resolve import find_recipe

        find_recipe(spec)
    elif spec.where in ("timm", "torchvision") and spec.name not in (known := ZOO_NAMES[spec.where]()):
        raise UnknownName(f"{spec.where} model", spec.name, known)


def _find_near(pattern: str, names: list[str]) -> list[str]:
    """Names near a pattern that matches none, as if its signs stood for nothing."""
    plain = "".join(letter for letter in pattern if letter not in "*?[]")
    containing = [name for name in names if plain and plain in name]
    return containing[:4] or difflib.get_close_matches(plain, names, n=4, cutoff=0.5)
