"""A pytest fixture that holds a model against limits, by the rules of `archprof check`.

def test_size(archprof_check):
    archprof_check("net.py:Net", inputs="3x224x224", max_params="25M", baseline="reports/net.json")
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def archprof_check(pytestconfig: pytest.Config) -> Callable[..., None]:
    """A function that fails the test, with the table, where a model does not keep its limits.

    It takes MODEL or an `nn.Module`; limits as `max_params="25M"`, `max_macs`, `max_flops`, `max_activation`,
    `max_peak`; and the other keywords of `archprof.budgets.checks.check_models`. pyproject.toml is looked for in
    pytest's root folder.
    """

    def hold(model: Any, inputs: Any = None, **said: Any) -> None:
        from archprof.budgets import checks

        __tracebackhide__ = True
        limits = {name.removeprefix("max_"): most for name, most in said.items() if name.startswith("max_")}
        options = {name: value for name, value in said.items() if not name.startswith("max_")}
        folder = pytestconfig.rootpath
        verdicts = checks.check_models([model], limits, inputs=inputs, folder=folder, **options)
        if not all(verdict.ok for verdict in verdicts):
            raise AssertionError("\n" + "\n".join(str(verdict.table.to_text()) for verdict in verdicts))

    return hold
