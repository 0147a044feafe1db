"""Which modules are split over ranks, and how: patterns of paths and the style of each, read from a file or a model."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from archprof.errors import ArchprofError
from archprof.facts.records import Profile
from archprof.files import import_toml, read_text
from archprof.predicting.sharding.styles import Style, make_style

LARGEST_PLAN_BYTES = 2**20

RULES_WORDS = 'A plan says "layers.*.mlp.up_proj" = "colwise", one line per rule.'


@dataclass(frozen=True)
class Plan:
    """Patterns of paths of modules and parameters, with the style of each; the first that fits is meant.

    Attributes:
        rules: "model.layers.*.mlp.up_proj" -> its style; "*" stands for one name or number between dots.
    """

    rules: tuple[tuple[str, Style], ...]

    @property
    def deals_experts(self) -> bool:
        """Some rule deals out whole experts."""
        return any(style.is_for_experts for _, style in self.rules)

    def find(self, path: str) -> Style | None:
        """The style of a module or parameter of that path."""
        return next((style for pattern, style in self.rules if _fits(pattern, path)), None)

    def match(self, profile: Profile) -> dict[str, Style]:
        """The style of each module and parameter that a rule names, by path.

        Raises:
            ArchprofError: a rule names none.
        """
        paths = _list_paths(profile)
        for pattern, _ in self.rules:
            if not any(_fits(pattern, path) for path in paths):
                raise _make_unknown_error(pattern, paths)
        return self.find_styles(profile)

    def find_styles(self, profile: Profile) -> dict[str, Style]:
        """The same of a part of a model, which some rules may not be for."""
        found: dict[str, Style] = {}
        paths = _list_paths(profile)
        for pattern, style in self.rules:
            for path in paths:
                if _fits(pattern, path):
                    found.setdefault(path, style)
        return found


def _list_paths(profile: Profile) -> list[str]:
    return [*(one.path for one in profile.modules), *(one.name for one in profile.parameters)]


def make_plan(rules: Mapping[str, Any]) -> Plan:
    """A plan of patterns and what they give: the name of a style, or a table with it and its options.

    Raises:
        ArchprofError: there is no such style or option.
    """
    return Plan(tuple((pattern, make_style(given, pattern)) for pattern, given in rules.items()))


def read_plan(path: str | Path) -> Plan:
    """A plan from a TOML or JSON file.

    Raises:
        ArchprofError: no such file, not of this grammar, or a style that there is not.
    """
    text = read_text(path, LARGEST_PLAN_BYTES)
    try:
        rules = (json if Path(path).suffix == ".json" else import_toml(path)).loads(text)
    except (ValueError, RecursionError) as error:
        raise ArchprofError(f"{path}: {error}.", RULES_WORDS) from error
    if not isinstance(rules, dict) or not rules:
        raise ArchprofError(f"{path} holds no rules.", RULES_WORDS)
    return make_plan(rules)


def find_model_plan(profile: Profile, axis: str = "tp") -> Plan | None:
    """The plan that the model itself has for an axis, "tp" or "ep"; `None` where it has none.

    A rule of which the model has no module is left out: a plan is that of a family.
    """
    paths = _list_paths(profile)
    rules = {
        one.pattern: one.style
        for one in profile.split_rules
        if one.axis == axis and any(_fits(one.pattern, path) for path in paths)
    }
    return make_plan(rules) if rules else None


def _fits(pattern: str, path: str) -> bool:
    """Part by part between dots, in a time that no number of stars makes long."""
    parts, names = pattern.split("."), path.split(".")
    return len(parts) == len(names) and all(map(_fits_part, parts, names))


def _fits_part(part: str, name: str) -> bool:
    """A star stands for one sign at least."""
    return part == name or ("*" in part and len(part) <= len(name) and fnmatchcase(name, _escape_part(part)))


@cache
def _escape_part(part: str) -> str:
    """As a pattern of names of files, in which a star may stand for nothing, and other signs mean something, too."""
    return re.sub(r"[?\[]", r"[\g<0>]", part).replace("*", "?*")


def _make_unknown_error(pattern: str, paths: Iterable[str]) -> ArchprofError:
    """The nearest paths, layers of one kind once."""
    known = sorted({re.sub(r"\.\d+(?=\.|$)", ".*", path) for path in paths if path})
    near = difflib.get_close_matches(pattern[:200], known, n=4, cutoff=0.3) or known[:4]
    return ArchprofError(f"The plan names {pattern!r}, and no module has such a path.", f"Near it: {', '.join(near)}.")
