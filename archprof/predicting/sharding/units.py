"""Which modules are gathered together: the calls of `fully_shard` that people write.

A unit owns the parameters of its module that no unit inside it owns. The model itself is the last of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from archprof.errors import ArchprofError, UnknownName
from archprof.facts.modules import find_holder, list_holders
from archprof.facts.records import Module, Profile

LISTS = frozenset(("ModuleList", "ModuleDict", "Sequential"))
UNCALLED = frozenset(("ModuleList", "ModuleDict", "ParameterList", "ParameterDict"))
"""Modules without a forward, which torch refuses to shard as one."""

FEWEST_BESIDE = 3
"""Modules of one kind that the model itself holds, outside of a list, so that they are taken for its blocks."""


class Unit(NamedTuple):
    """What is gathered together.

    Attributes:
        module: index into `Profile.modules`; 0 is the model itself.
        parameters: indices into `Profile.parameters`, in their order.
    """

    module: int
    parameters: tuple[int, ...]


def find_units(profile: Profile, patterns: Sequence[str] = ()) -> tuple[Unit, ...]:
    """The units that own parameters, in the order of the modules.

    Args:
        profile: of the model.
        patterns: paths of modules, where * stands for any text, or kinds of modules. Inside a module that matches a
            pattern, none matches the same one once more.

    Raises:
        UnknownName: a pattern matches nothing that can be a unit.
        ArchprofError: a parameter is shared by two units.
    """
    chosen = match_units(profile, patterns) if patterns else choose_units(profile.modules)
    by_path = {place: at for at in chosen for place in (profile.modules[at].path, *profile.modules[at].aliases)}
    owned: dict[int, list[int]] = {at: [] for at in sorted({0, *chosen})}
    for index, parameter in enumerate(profile.parameters):
        if parameter.role == "parameter":
            owned[_find_owner(profile, index, by_path)].append(index)
    return tuple([Unit(module, tuple(parameters)) for module, parameters in owned.items() if parameters])


def _find_owner(profile: Profile, index: int, by_path: dict[str, int]) -> int:
    parameter = profile.parameters[index]
    owners = {find_holder(name, by_path) or 0: name for name in (parameter.name, *parameter.aliases)}
    if len(owners) > 1:
        places = " and ".join(repr(profile.modules[at].path or "the model") for at in owners)
        raise ArchprofError(
            f"{parameter.name} is also {', '.join(parameter.aliases)}, in another unit: {places}.",
            "torch refuses a parameter that two units share.",
            "Put both places in one unit, with --units.",
        )
    return next(iter(owners))


def match_units(profile: Profile, patterns: Iterable[str]) -> set[int]:
    """The modules that the patterns name; those without a forward are left out."""
    modules = profile.modules
    found: set[int] = set()
    for pattern in patterns:
        hits = {
            at: one.path
            for at, one in enumerate(modules)
            if at and one.kind not in UNCALLED and (one.kind == pattern or fnmatchcase(one.path, pattern))
        }
        if not hits:
            known = {name for one in modules[1:] if one.kind not in UNCALLED for name in (one.path, one.kind)}
            raise UnknownName(f"unit of {profile.model}", pattern, known)
        paths = set(hits.values())
        found.update(at for at, path in hits.items() if not any(outer in paths for outer in list_holders(path)))
    return found


def choose_units(modules: Sequence[Module]) -> set[int]:
    """The outermost repeated blocks: modules with parts in lists, of whose kind there are several.

    A model may hold its blocks itself, one beside the other, and an encoder and a decoder beside one another are none.
    """
    children: dict[int | None, list[int]] = {}
    for index, module in enumerate(modules):
        children.setdefault(module.parent, []).append(index)
    found: list[int] = []
    waiting = [0] if modules else []
    while waiting:
        holder = waiting.pop()
        parts = children.get(holder, [])
        kinds = Counter(modules[at].kind for at in parts if at in children and modules[at].kind not in LISTS)
        fewest = 1 if modules[holder].kind in LISTS else FEWEST_BESIDE if holder == 0 else len(parts) + 1
        blocks = [at for at in parts if at in children and kinds[modules[at].kind] >= fewest]
        found += blocks
        waiting += [at for at in parts if at not in blocks]
    count = Counter(modules[at].kind for at in found)
    return {at for at in found if count[modules[at].kind] > 1}
