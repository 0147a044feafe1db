"""The mode above torch's functions: what ops alone would not tell is seen here, and done in another way."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any, cast

import torch
from torch.overrides import TorchFunctionMode

from archprof.torchside.missing_values import VALUE_FUNCTIONS, mark_function_error
from archprof.torchside.private import is_left_aligned, is_transformed
from archprof.torchside.tensors import mixes_devices
from archprof.tracing import whole_ops
from archprof.tracing.control_flow import CONTROL_FLOW, run_control_flow
from archprof.tracing.departures import ELEMENT_FUNCTIONS
from archprof.tracing.flex_attention import FLEX_ATTENTION, READ_DEVICE, answer_device, run_flex_attention
from archprof.tracing.gradients import GRADIENT_FUNCTIONS, call_gradient_function
from archprof.tracing.moves import MOVES, stay
from archprof.tracing.op_mode import OpMode

SET_DATA: Any = cast("Any", torch.Tensor).data.__set__

INTERCEPTED_FUNCTIONS = frozenset(
    {
        *whole_ops.WHOLE_OP_NAMES,
        *whole_ops.OPENED_FUNCTIONS,
        *GRADIENT_FUNCTIONS,
        *CONTROL_FLOW,
        FLEX_ATTENTION,
        READ_DEVICE,
        SET_DATA,
        *VALUE_FUNCTIONS,
        *ELEMENT_FUNCTIONS,
        *MOVES,
        is_left_aligned,
    }
)
"""The functions that are not simply called."""


def _is_of_op(error: BaseException) -> bool:
    """Whether an op that was dispatched raised it, or a check of its arguments."""
    dispatch = OpMode.__torch_dispatch__.__code__
    return any(frame.f_code is dispatch for frame, _ in traceback.walk_tb(error.__traceback__))


def _hand_over_values(func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    try:
        return func(*args, **kwargs)
    except Exception as error:
        if args and args[0].is_meta:
            mark_function_error(error)
        raise


class FunctionMode(TorchFunctionMode):
    """Records attention and recurrent functions as the one op they are, whatever they decompose into."""

    def __init__(self, ops: OpMode) -> None:
        super().__init__()
        self.op_mode = ops
        ops.calls.function_mode = self

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func not in INTERCEPTED_FUNCTIONS:
            try:
                return func(*args, **kwargs)
            except RuntimeError as error:  # of a check of devices before any op, as a window of stft goes through
                if mixes_devices([args, kwargs]) and not _is_of_op(error):
                    mark_function_error(error)
                raise
        name = whole_ops.WHOLE_OP_NAMES.get(func)
        if name is not None:
            if self.op_mode.parts or is_transformed():
                return func(*args, **kwargs)  # only torch.func knows the batch, or the tangents, that it hides
            return whole_ops.run_whole(self.op_mode, name, func, args, kwargs)
        if func is is_left_aligned:
            return False  # only values can tell; its reader then computes what the padding masks, too
        if func in MOVES:
            return stay(self.op_mode.recorder, func, args, kwargs)
        if func in VALUE_FUNCTIONS:
            values = _hand_over_values(func, args, kwargs)
            self.op_mode.note_departure(func, args[0])
            return values
        if func in ELEMENT_FUNCTIONS:
            self.op_mode.record_function(ELEMENT_FUNCTIONS[func], [], None, (), {})
            return func(*args, **kwargs)
        if func in GRADIENT_FUNCTIONS:
            return call_gradient_function(self.op_mode.calls, func, args, kwargs)
        if func == SET_DATA:
            self.op_mode.memo.forget()
            self.op_mode.recorder.constants.forget(args[0])
            return func(*args, **kwargs)
        if func == READ_DEVICE:
            return answer_device(args[0])
        if func is FLEX_ATTENTION:
            return run_flex_attention(self.op_mode, func, args, kwargs)
        with self:
            if func in CONTROL_FLOW:
                calls = self.op_mode.calls
                return run_control_flow(calls.recorder, calls.decisions, func, args, kwargs)
            return whole_ops.OPENED_FUNCTIONS[func](*args, **kwargs)
