"""The limits that a command takes as `--max-NAME`: the metrics say what they mean."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperCommand

Limit = Annotated[str | None, typer.Option(metavar="MOST")]


class CommandWithLimits(TyperCommand):
    """Reads the metrics when its help is shown, so that no other help waits for them."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        self.describe_limits()
        super().format_help(ctx, formatter)

    def describe_limits(self) -> None:
        from archprof.budgets.limits import LIMITABLE_METRICS, describe_limit

        for param in self.params:
            name = (param.name or "").removeprefix("max_")
            if name in LIMITABLE_METRICS:
                param.help = describe_limit(LIMITABLE_METRICS[name])  # type: ignore[attr-defined]
