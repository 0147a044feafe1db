"""A pytest fixture that holds a model against limits, by the rules of `archprof check`.

def test_size(archprof_check):
    archprof_check("net.py:Net", inputs="3x224x224", max_params="25M", baseline="reports/net.json")
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import archprof


@pytest.fixture
def archprof_check(pytestconfig: pytest.Config) -> Callable[..., None]:
    """A function that fails the test, with the table, where a model does not keep its limits.

    It takes MODEL or an `nn.Module`, and the keywords of `archprof.check`, such as `max_params="25M"`. pyproject.toml
    is looked for in pytest's root folder.
    """

    def hold(model: Any, inputs: Any = None, **said: Any) -> None:
        __tracebackhide__ = True
        verdicts = archprof.check([model], inputs=inputs, folder=pytestconfig.rootpath, **said)
        if not all(verdict.ok for verdict in verdicts):
            raise AssertionError("\n" + "\n".join(str(verdict.table.to_text()) for verdict in verdicts))

    return hold
