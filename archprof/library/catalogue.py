"""What can be named without a file: the built-in models, and the devices whose figures are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from archprof.analysis.table import Table


def list_models(pattern: str = "") -> Table:
    """The built-in models whose name contains `pattern` (or matches it, if it has a `*`), with what each costs."""
    from archprof.analysis.tables import model_list
    from archprof.sources.zoo_names import match_builtins
    from archprof.tracing.profile import profile_model

    return model_list.tabulate_models([(entry, profile_model(entry.name)) for entry in match_builtins(pattern)])


def list_devices(pattern: str = "") -> Table:
    """The devices whose name contains `pattern` (or matches it, if it has a `*`); one alone with all its figures."""
    from archprof.analysis.tables.device_list import tabulate_matches

    return tabulate_matches(pattern)
