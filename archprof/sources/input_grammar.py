"""The grammar of `--input`: a tensor, a plain value, or lists, tuples and dicts of these.

    input  = [name "="] value
    value  = tensor | "None" | "True" | "False" | number | string | list | tuple | dict
    list   = "[" [value {"," value}] [","] "]"
    tuple  = "(" [value {"," value}] [","] ")"
    dict   = "{" [key ":" value {"," key ":" value}] [","] "}"
    tensor = [dtype [":"]] shape [[">=" low] "<" high] | [[dtype] shape "@"] file
    file   = a path without spaces and brackets that ends in .npy or .pt: its tensor, read as data
    shape  = size {"x" size}            without its batch dimension, which is put in front
           | "[" [size {"," size}] "]"  exact
    number = "int(5)", or anything with a point or an exponent

`3x224x224` is one image, `[2,128]` exactly two rows of 128, `int64[1,128]<30522` token ids below 30522,
`mask=bool:128` a keyword argument with the batch in front, `batch={image: 3x224x224, mask: bool[1,8]}` a dict,
`3x8x8>=0<1` floats from 0 to below 1 (normal ones without a range), `photo.npy` what the file holds.
No dtype: the floating dtype of the pass. Sizes alone in brackets are a shape: a comma after the last makes a list.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from archprof.errors import UsageError
from archprof.sources.input_files import read_tensor_file
from archprof.sources.input_spec import INPUT_DTYPES, InputSpec, is_floating_dtype
from archprof.sources.literals import UNREADABLE, parse_expression
from archprof.torchside.tensors import dtype_name
from archprof.units import show_whole

MAX_INPUT_ELEMENTS = 2**48
"""Elements that an input may have at most; above it is a slip of the hand."""

MAX_INPUT_NESTING = 20
"""Brackets inside brackets."""

MAX_REPR_CHARACTERS = 60
"""Characters up to which an object without a literal is described as it describes itself."""

INPUT_EXAMPLES = (
    "Examples: 3x224x224 (the batch goes in front), [2,128] (exact), int64[1,128]<30522, mask=bool[1,128], "
    "3x224x224>=0<1, photo.npy."
)

ARGUMENT_EXAMPLES = "Examples: --arg use_cache=False, --arg scale=0.5, --arg \"mode='nearest'\", --arg 'size=(7, 7)'."

WORD_VALUES = {"None": None, "True": True, "False": False}
NUMBER_PATTERN = r"[+-]?(?:\d+\.\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|inf|nan)(?!\w)"
STRING_PATTERN = r"'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\""
FILE_PATTERN = r"[^\s,:@(){}\[\]'\"=<>]+\.(?:npy|pt)(?![\w./\\])"
REAL_PATTERN = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.])"
SIZES_PATTERN = re.compile(r"\d+(?:\s*,\s*\d+)*")
SHAPE_PATTERN = r"\[\s*(?:[-+]?\d+\s*(?:,\s*[-+]?\d+\s*)*)?(?:\]|,?\s*$)"
"""Sizes alone in brackets, or what would be with its end; negative ones are a slip, and said to be."""


@dataclass(frozen=True, slots=True)
class NamedInput:
    """A keyword argument: an input with its name."""

    name: str
    value: Any


def parse_input(text: str) -> Any:
    """Read one `--input`: an `InputSpec`, a plain value, a tree of them, or one of these as a `NamedInput`.

    Raises:
        UsageError: points at the character where it breaks.
    """
    return _InputReader(text).read_input()


def parse_argument(text: str) -> str:
    """One `--arg`, name=literal, in the grammar of `--input`. Nothing is evaluated but Python literals.

    Raises:
        UsageError: there is no name, or what follows it is no literal.
    """
    name, equals, literal = (part.strip() for part in text.partition("="))
    if not equals or not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
        raise UsageError(f"This argument has no name: {text!r}.", "name=literal", ARGUMENT_EXAMPLES)
    try:
        value = ast.literal_eval(parse_expression(literal))
        written = f"{name}={describe_input(value)}"
        if repr(parse_input(written).value) == repr(value):
            return written
    except (*UNREADABLE, UsageError):
        pass
    raise UsageError(
        f"{literal!r}, the value of {name}, is no literal that can be given.",
        "Numbers, quoted strings, True, False, None, and tuples, lists and dicts of them.",
        ARGUMENT_EXAMPLES,
    )


def describe_input(tree: Any) -> str:
    """One argument in the grammar of `--input`: "3x224x224", "[[3,800,800]]", "{mask: bool[1,8]}", "None".

    `parse_input` reads it again, but for values that are in no file and objects that have no literal.
    """
    if isinstance(tree, torch.Tensor):
        return f"{dtype_name(tree.dtype)}[{','.join(map(str, tree.shape))}]"
    if isinstance(tree, Mapping):
        return f"{{{', '.join(f'{_show_key(key)}: {describe_input(value)}' for key, value in tree.items())}}}"
    if isinstance(tree, tuple | list) and not isinstance(tree, torch.Size):
        inside = ", ".join(map(describe_input, tree))
        if SIZES_PATTERN.fullmatch(inside) or tree == []:
            inside += ","  # else it would read as a shape
        return f"({inside})" if isinstance(tree, tuple) else f"[{inside}]"
    if type(tree) is int:
        return f"int({tree})"
    if isinstance(tree, InputSpec):
        return str(tree)
    written = repr(tree)
    if isinstance(tree, str):
        return written
    return written if len(written) <= MAX_REPR_CHARACTERS else f"<{type(tree).__name__}>"


def _show_key(key: Any) -> str:
    return key if isinstance(key, str) and re.fullmatch(r"[A-Za-z_]\w*", key, re.ASCII) else repr(key)


class _InputReader:
    """Reads one input from left to right."""

    def __init__(self, text: str) -> None:
        self.text, self.position, self.depth = text, 0, 0

    def read_input(self) -> Any:
        name = self.take(r"[A-Za-z_]\w*(?=\s*=)")
        if name:
            self.take("=")
        value = self.read_value()
        self.take(r"\s*")
        if self.position < len(self.text):
            raise self.make_error("the input should end here")
        return NamedInput(name, value) if name else value

    def read_value(self) -> Any:
        if self.comes_next(r"[({]") or (self.comes_next(r"\[") and not self.comes_next(SHAPE_PATTERN)):
            return self.read_nested()
        path = self.take(FILE_PATTERN)
        if path:
            return self.read_file(path)
        word = self.take(r"(?:None|True|False)(?!\w)")
        if word:
            return WORD_VALUES[word]
        return (
            self.read_number()
            if self.comes_next(rf"int\s*\(|{NUMBER_PATTERN}|{STRING_PATTERN}")
            else self.read_tensor()
        )

    def read_nested(self) -> Any:
        """A list, tuple or dict; not without end."""
        self.depth += 1
        if self.depth > MAX_INPUT_NESTING:
            raise self.make_error(f"brackets are nested more than {MAX_INPUT_NESTING} deep")
        value = self.read_dict() if self.take(r"\{") else self.read_tuple() if self.take(r"\(") else self.read_list()
        self.depth -= 1
        return value

    def read_list(self) -> list[Any]:
        self.take(r"\[")
        return self.read_items(r"\]", self.read_value)[0]

    def read_tuple(self) -> tuple[Any, ...]:
        start = self.position
        items, open_ended = self.read_items(r"\)", self.read_value)
        if items and not open_ended and SIZES_PATTERN.fullmatch(", ".join(map(describe_input, items))):
            self.position = start
            raise self.make_error(
                "sizes in parentheses are no shape", "Exact: [3,224,224]. The batch in front: 3x224x224."
            )
        return tuple(items)

    def read_dict(self) -> dict[Any, Any]:
        return dict(self.read_items(r"\}", self.read_pair)[0])

    def read_pair(self) -> tuple[Any, Any]:
        """A key and its value."""
        start = self.position
        string = self.take(STRING_PATTERN)
        key = self.unquote(string, start) if string else self.take(r"[A-Za-z_]\w*|-?\d{1,15}(?!\d)")
        if key is None or not self.take(":"):
            self.position = start
            raise self.make_error("a key and ':' were expected here", "{image: 3x224x224, mask: bool[1,8]}")
        return (int(key) if not string and key.lstrip("-").isdigit() else key), self.read_value()

    def read_items(self, closing: str, read: Callable[[], Any]) -> tuple[list[Any], bool]:
        """What stands before the closing bracket, and whether a comma stands after the last."""
        found: list[Any] = []
        comma = bool(self.take(","))
        while not self.take(closing):
            if found and not comma:
                raise self.make_error(f"',' or '{closing[-1]}' was expected here")
            found.append(read())
            comma = bool(self.take(","))
        return found, comma

    def read_number(self) -> Any:
        start = self.position
        if self.take(r"int\s*\("):
            text = self.take(r"[+-]?\d{1,400}")
            if text is None or not self.take(r"\)"):
                self.position = start
                raise self.make_error("a whole number was expected here: int(5)")
            return int(text)
        text = self.take(rf"{NUMBER_PATTERN}|{STRING_PATTERN}") or ""
        return self.unquote(text, start) if text[0] in "'\"" else float(text)

    def unquote(self, quoted: str, start: int) -> str:
        """What a string between quotes says."""
        try:
            return str(ast.literal_eval(parse_expression(quoted)))
        except (ValueError, SyntaxError):  # a surrogate, a null byte, or half an escape
            self.position = start
            raise self.make_error("this is no string of Python") from None

    def read_tensor(self) -> InputSpec:
        dtype = self.read_dtype()
        batched = not self.take(r"\[")
        shape = self.read_sizes("x") if batched else self.read_exact_sizes()
        if math.prod(shape) > MAX_INPUT_ELEMENTS:
            raise self.make_error(f"{show_whole(math.prod(shape))} elements are more than any tensor holds")
        start = self.position
        if self.take("@"):
            return self.read_file(self.take(FILE_PATTERN), InputSpec(shape, dtype, None, batched), start)
        if not self.comes_next("<|>="):
            return InputSpec(shape, dtype, None, batched)
        low, high = self.read_range(dtype)
        return InputSpec(shape, dtype, high, batched, low)

    def read_file(self, path: str | None, described: InputSpec | None = None, start: int = 0) -> InputSpec:
        """The tensor of a file. Floats take the dtype of the pass, but for one that stands in front."""
        if path is None:
            raise self.make_error("a file that ends in .npy or .pt was expected here")
        found = read_tensor_file(path)
        shape, dtype = tuple(found.shape), dtype_name(found.dtype)
        if described is not None and (described.batched or described.shape != shape):
            self.position = start
            raise self.make_error(f"{path} has the shape [{','.join(map(str, shape))}]")
        own = None if is_floating_dtype(dtype) else dtype
        return InputSpec(shape, (described and described.dtype) or own, values=found, source=path)

    def read_dtype(self) -> str | None:
        start = self.position
        dtype = self.take(r"[A-Za-z_]\w*")
        if dtype and dtype not in INPUT_DTYPES:
            self.position = start
            raise self.make_error("a size or a dtype was expected here", f"Dtypes: {', '.join(INPUT_DTYPES)}.")
        if dtype:
            self.take(":")
        return dtype

    def read_exact_sizes(self) -> tuple[int, ...]:
        if self.take(r"\]"):
            return ()
        shape = self.read_sizes(",")
        if not self.take(r"\]"):
            raise self.make_error("',' or ']' was expected here")
        return shape

    def read_sizes(self, separator: str) -> tuple[int, ...]:
        shape = [self.read_size()]
        while self.take(separator):
            shape.append(self.read_size())
        return tuple(shape)

    def read_size(self) -> int:
        size = self.take(r"0*[1-9][0-9]{0,14}(?![0-9])")
        if size is None:
            raise self.make_error("a whole number of 1 or more was expected here")
        return int(size)

    def read_range(self, dtype: str | None) -> tuple[float, float]:
        """The range behind a tensor: ">=low<high", or "<high" from zero."""
        if dtype is not None and dtype.startswith("complex"):
            self.take("<|>=")
            raise self.make_error("complex numbers have no range")
        low = self.read_bound(dtype) if self.take(">=") else 0
        if not self.take("<"):
            raise self.make_error("a range has an end: '<' was expected here", "int64[1,128]>=1<30522, 3x8x8>=0<1")
        start = self.position
        high = self.read_bound(dtype, after=1)
        if high <= low:
            self.position = start
            kind = "number" if _is_real_dtype(dtype) else "integer"
            raise self.make_error(f"there is no {kind} from {low} to below {high}")
        return low, high

    def read_bound(self, dtype: str | None, after: int = 0) -> float:
        """A value that `dtype` holds, or of integers the one `after` the last."""
        start = self.position
        real = _is_real_dtype(dtype)
        bound = self.take(REAL_PATTERN if real else r"-?[0-9]{1,20}(?![0-9])")
        if bound is None:
            raise self.make_error(f"a {'number' if real else 'whole number'} was expected here")
        value = float(bound) if real else int(bound)
        least, most = _dtype_limits(dtype or "float64")
        if not least <= value <= most + (0 if real else after):
            self.position = start
            raise self.make_error(f"{dtype or 'float64'} holds values from {least} to {most}")
        return value

    def comes_next(self, pattern: str) -> bool:
        """Whether `pattern` comes next."""
        return _compile_pattern(pattern).match(self.text, self.position) is not None

    def take(self, pattern: str) -> str | None:
        """What `pattern` matches here, spaces around it skipped; `None` if it does not."""
        match = _compile_pattern(pattern).match(self.text, self.position)
        if match is None:
            return None
        self.position = match.end()
        return match[1]

    def make_error(self, what: str, allowed: str = "") -> UsageError:
        pointer = " " * (2 + self.position) + "^"
        given = f"This input cannot be read:\n  {self.text}\n{pointer} {what}"
        return UsageError(given, allowed, INPUT_EXAMPLES)


@cache
def _compile_pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"\s*({pattern})\s*", re.ASCII)


def _is_real_dtype(dtype: str | None) -> bool:
    """Whether a dtype is for reals; `None` is the floating dtype of the pass."""
    return dtype is None or is_floating_dtype(dtype)


def _dtype_limits(dtype: str) -> tuple[float, float]:
    if dtype == "bool":
        return 0, 1
    limits = torch.finfo(getattr(torch, dtype)) if is_floating_dtype(dtype) else torch.iinfo(getattr(torch, dtype))
    return limits.min, limits.max
