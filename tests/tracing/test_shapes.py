"""Every shape rule against torch's own meta kernel, over random calls, valid and invalid."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
import shapes_layer_calls  # noqa: F401  registers its generators
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from shapes_calls import CALLS
from shapes_draw import Draw
from torch.utils._python_dispatch import TorchDispatchMode

from archprof.tracing.ops import shapes

EXAMPLES = int(os.environ.get("SHAPE_EXAMPLES", "30"))
"""Calls drawn for each rule; a thousand or more after a rule or torch has changed."""


class Refused(Exception):
    """torch does not take the call, and the rule did not answer it."""


class Versus(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Gives one op to torch and to its rule, just as the dispatcher passes it."""

    def __init__(self, op: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.op = op
        self.answered = False

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not self.op:
            return func(*args, **kwargs)
        rule = shapes.find_shape_rule(func)
        assert rule is not None
        try:
            expected = as_on_a_device(func, func(*args, **kwargs), args)
        except Exception as error:
            if not refused(rule, args, kwargs):
                raise AssertionError(f"torch refuses what the rule answers: {error}") from error
            raise Refused from error
        actual = rule(*args, **kwargs)
        if actual is not None:
            self.answered = True
            assert described(actual, args) == described(expected, args)
        return expected


def as_on_a_device(func: Any, result: Any, args: Any) -> Any:
    """Without the gradient that the meta kernel of batch norm makes unasked, and no real kernel does, and a convolution
    with its channels last where an operand has them so, which the kernel of meta leaves to the device.
    """
    if func is overload("native_batch_norm_backward.default") and not args[-1][0]:
        return (None, *result[1:])
    if func is overload("convolution.default"):
        formats = {torch._prims_common.suggest_memory_format(tensor) for tensor in args[:2]}
        last = formats & {torch.channels_last, torch.channels_last_3d}
        return (
            torch.empty(result.shape, dtype=result.dtype, device="meta", memory_format=last.pop()) if last else result
        )
    return result


def refused(rule: Any, args: Any, kwargs: Any) -> bool:
    """Whether a rule leaves a call to torch."""
    try:
        return rule(*args, **kwargs) is None
    except Exception:
        return True


def described(result: Any, args: Any) -> list[Any]:
    """Shape, dtype and strides of each result, which argument it is, and whether it shares one's memory."""
    given = [arg for arg in args if isinstance(arg, torch.Tensor)]
    return [
        None
        if tensor is None
        else (
            tuple(tensor.shape),
            tensor.dtype,
            tensor.stride(),
            tensor.device.type,
            [tensor is arg for arg in given],
            [torch._C._is_alias_of(tensor, arg) for arg in given],
        )
        for tensor in (result if isinstance(result, tuple | list) else [result])
    ]


def overload(name: str) -> Any:
    op, _, variant = name.partition(".")
    return getattr(getattr(torch.ops.aten, op), variant)


def test_every_rule_has_a_generator_and_every_generator_a_rule() -> None:
    assert set(CALLS) == set(shapes.list_covered_overloads())


@pytest.mark.parametrize("name", sorted(shapes.list_covered_overloads()))
def test_rule_answers_as_torch_does(name: str) -> None:
    answered = []

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def check(data: st.DataObject) -> None:
        args, kwargs = CALLS[name](Draw(data.draw))
        mode = Versus(overload(name))
        try:
            with torch.no_grad(), mode:
                overload(name)(*args, **kwargs)
        except Refused:
            return
        answered.append(mode.answered)

    check()
    assert any(answered), "no call was answered"


PROFILED = """
import sys
import archprof
from archprof.models import registry
for name in {names}:
    archprof.profile(name, **{options})
print(*[name for name in {modules} if name in sys.modules])
"""


@pytest.mark.parametrize(
    ("names", "options"),
    [
        ("registry.list_builtin_names()", {}),
        (["resnet50"], {"train": True}),
        (["resnet50"], {"train": True, "optimizer": "adamw"}),
    ],
)
def test_built_in_models_reach_no_kernel_that_imports_the_compiler(names: Any, options: Any) -> None:
    """Either import takes about as long as torch's own."""
    code = PROFILED.format(names=names, options=options, modules=("torch._dynamo", "sympy"))
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr
