"""The grammar of `--input`: a tensor, a plain value, or lists, tuples and dicts of these.

    input  = [name "="] value
    value  = tensor | "None" | "True" | "False" | number | string | list | tuple | dict
    list   = "[" [value {"," value}] [","] "]"
    tuple  = "(" [value {"," value}] [","] ")"
    dict   = "{" [key ":" value {"," key ":" value}] [","] "}"
    tensor = [dtype [":"]] shape [[">=" low] "<" high]
    shape  = size {"x" size}            without its batch dimension, which is put in front
           | "[" [size {"," size}] "]"  exact
    number = "int(5)", or anything with a point or an exponent

`3x224x224` is one image, `[2,128]` exactly two rows of 128, `int64[1,128]<30522` token ids below 30522,
`mask=bool:128` a keyword argument with the batch in front, `batch={image: 3x224x224, mask: bool[1,8]}` a dict.
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
from archprof.sources.input_spec import DTYPES, InputSpec, is_floating

LARGEST = 2**48
"""Elements that an input may have at most; above it is a slip of the hand."""

DEEPEST = 20
"""Brackets inside brackets."""

LONGEST_REPR = 60
"""Characters up to which an object without a literal is described as it describes itself."""

EXAMPLES = "Examples: 3x224x224 (the batch goes in front), [2,128] (exact), int64[1,128]<30522, mask=bool[1,128]."

ARGUMENTS = "Examples: --arg use_cache=False, --arg scale=0.5, --arg \"mode='nearest'\", --arg 'size=(7, 7)'."

WORDS = {"None": None, "True": True, "False": False}
NUMBER = r"[+-]?(?:\d+\.\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|inf|nan)(?!\w)"
STRING = r"'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\""
SIZES = re.compile(r"\d+(?:\s*,\s*\d+)*")
SHAPE = r"\[\s*(?:[-+]?\d+\s*(?:,\s*[-+]?\d+\s*)*)?(?:\]|,?\s*$)"
"""Sizes alone in brackets, or what would be with its end; negative ones are a slip, and said to be."""


@dataclass(frozen=True, slots=True)
class Named:
    """A keyword argument: an input with its name."""

    name: str
    value: Any


def parse_input(text: str) -> Any:
    """Read one `--input`: an `InputSpec`, a plain value, a tree of them, or one of these `Named`.

    Raises:
        UsageError: points at the character where it breaks.
    """
    return _Reader(text).input()


def argument(text: str) -> str:
    """One `--arg`, name=literal, in the grammar of `--input`. Nothing is evaluated but Python literals.

    Raises:
        UsageError: there is no name, or what follows it is no literal.
    """
    name, equals, literal = (part.strip() for part in text.partition("="))
    if not equals or not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
        raise UsageError(f"This argument has no name: {text!r}.", "name=literal", ARGUMENTS)
    try:
        value = ast.literal_eval(literal)
        written = f"{name}={describe(value)}"
        if repr(parse_input(written).value) == repr(value):
            return written
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError, UsageError):
        pass
    raise UsageError(
        f"{literal!r}, the value of {name}, is no literal that can be given.",
        "Numbers, quoted strings, True, False, None, and tuples, lists and dicts of them.",
        ARGUMENTS,
    )


def describe(tree: Any) -> str:
    """One argument in the grammar of `--input`: "3x224x224", "[[3,800,800]]", "{mask: bool[1,8]}", "None".

    `parse_input` reads it again, but for a tensor's values and objects that have no literal.
    """
    if isinstance(tree, torch.Tensor):
        return f"{str(tree.dtype).removeprefix('torch.')}[{','.join(map(str, tree.shape))}]"
    if isinstance(tree, Mapping):
        return f"{{{', '.join(f'{_key(key)}: {describe(value)}' for key, value in tree.items())}}}"
    if isinstance(tree, tuple | list) and not isinstance(tree, torch.Size):
        inside = ", ".join(map(describe, tree))
        if SIZES.fullmatch(inside) or tree == []:
            inside += ","  # else it would read as a shape
        return f"({inside})" if isinstance(tree, tuple) else f"[{inside}]"
    if type(tree) is int:
        return f"int({tree})"
    if isinstance(tree, InputSpec):
        return str(tree)
    written = repr(tree)
    if isinstance(tree, str):
        return written
    return written if len(written) <= LONGEST_REPR else f"<{type(tree).__name__}>"


def _key(key: Any) -> str:
    return key if isinstance(key, str) and re.fullmatch(r"[A-Za-z_]\w*", key, re.ASCII) else repr(key)


class _Reader:
    """Reads one input from left to right."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.depth = text, 0, 0

    def input(self) -> Any:
        name = self.take(r"[A-Za-z_]\w*(?=\s*=)")
        if name:
            self.take("=")
        value = self.value()
        self.take(r"\s*")
        if self.at < len(self.text):
            raise self.error("the input should end here")
        return Named(name, value) if name else value

    def value(self) -> Any:
        if self.ahead(r"[({]") or (self.ahead(r"\[") and not self.ahead(SHAPE)):
            return self.nested()
        word = self.take(r"(?:None|True|False)(?!\w)")
        if word:
            return WORDS[word]
        return self.number() if self.ahead(rf"int\s*\(|{NUMBER}|{STRING}") else self.tensor()

    def nested(self) -> Any:
        """A list, tuple or dict; not without end."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise self.error(f"brackets are nested more than {DEEPEST} deep")
        value = self.a_dict() if self.take(r"\{") else self.a_tuple() if self.take(r"\(") else self.a_list()
        self.depth -= 1
        return value

    def a_list(self) -> list[Any]:
        self.take(r"\[")
        return self.items(r"\]", self.value)[0]

    def a_tuple(self) -> tuple[Any, ...]:
        start = self.at
        items, open_ended = self.items(r"\)", self.value)
        if items and not open_ended and SIZES.fullmatch(", ".join(map(describe, items))):
            self.at = start
            raise self.error("sizes in parentheses are no shape", "Exact: [3,224,224]. The batch in front: 3x224x224.")
        return tuple(items)

    def a_dict(self) -> dict[Any, Any]:
        return dict(self.items(r"\}", self.pair)[0])

    def pair(self) -> tuple[Any, Any]:
        """A key and its value."""
        start = self.at
        string = self.take(STRING)
        key = self.string(string, start) if string else self.take(r"[A-Za-z_]\w*|-?\d{1,15}(?!\d)")
        if key is None or not self.take(":"):
            self.at = start
            raise self.error("a key and ':' were expected here", "{image: 3x224x224, mask: bool[1,8]}")
        return (int(key) if not string and key.lstrip("-").isdigit() else key), self.value()

    def items(self, closing: str, read: Callable[[], Any]) -> tuple[list[Any], bool]:
        """What stands before the closing bracket, and whether a comma stands after the last."""
        found: list[Any] = []
        comma = bool(self.take(","))
        while not self.take(closing):
            if found and not comma:
                raise self.error(f"',' or '{closing[-1]}' was expected here")
            found.append(read())
            comma = bool(self.take(","))
        return found, comma

    def number(self) -> Any:
        start = self.at
        if self.take(r"int\s*\("):
            text = self.take(r"[+-]?\d{1,400}")
            if text is None or not self.take(r"\)"):
                self.at = start
                raise self.error("a whole number was expected here: int(5)")
            return int(text)
        text = self.take(rf"{NUMBER}|{STRING}") or ""
        return self.string(text, start) if text[0] in "'\"" else float(text)

    def string(self, quoted: str, start: int) -> str:
        """What a string between quotes says."""
        try:
            return str(ast.literal_eval(quoted))
        except (ValueError, SyntaxError):  # a surrogate, a null byte, or half an escape
            self.at = start
            raise self.error("this is no string of Python") from None

    def tensor(self) -> InputSpec:
        dtype = self.dtype()
        batched = not self.take(r"\[")
        shape = self.sizes("x") if batched else self.exact()
        if math.prod(shape) > LARGEST:
            raise self.error(f"{math.prod(shape):,} elements are more than any tensor holds")
        if not self.ahead("<|>="):
            return InputSpec(shape, dtype, None, batched)
        low, high = self.span(dtype)
        return InputSpec(shape, dtype, high, batched, low)

    def dtype(self) -> str | None:
        start = self.at
        dtype = self.take(r"[A-Za-z_]\w*")
        if dtype and dtype not in DTYPES:
            self.at = start
            raise self.error("a size or a dtype was expected here", f"Dtypes: {', '.join(DTYPES)}.")
        if dtype:
            self.take(":")
        return dtype

    def exact(self) -> tuple[int, ...]:
        if self.take(r"\]"):
            return ()
        shape = self.sizes(",")
        if not self.take(r"\]"):
            raise self.error("',' or ']' was expected here")
        return shape

    def sizes(self, separator: str) -> tuple[int, ...]:
        shape = [self.size()]
        while self.take(separator):
            shape.append(self.size())
        return tuple(shape)

    def size(self) -> int:
        size = self.take(r"0*[1-9][0-9]{0,14}(?![0-9])")
        if size is None:
            raise self.error("a whole number of 1 or more was expected here")
        return int(size)

    def span(self, dtype: str | None) -> tuple[int, int]:
        """The range behind a tensor: ">=low<high", or "<high" from zero."""
        if dtype is None or is_floating(dtype):
            self.take("<|>=")
            raise self.error("only integers have a range", "Put an integer dtype in front: int64[1,128]<30522.")
        low = self.bound(dtype) if self.take(">=") else 0
        if not self.take("<"):
            raise self.error("a range has an end: '<' was expected here", "int64[1,128]>=1<30522")
        start = self.at
        high = self.bound(dtype, after=1)
        if high <= low:
            self.at = start
            raise self.error(f"there is no integer from {low} to below {high}")
        return low, high

    def bound(self, dtype: str, after: int = 0) -> int:
        """A value that `dtype` holds, or the one `after` the last."""
        start = self.at
        bound = self.take(r"-?[0-9]{1,20}(?![0-9])")
        if bound is None:
            raise self.error("a whole number was expected here")
        least, most = (0, 1) if dtype == "bool" else _limits(dtype)
        if not least <= int(bound) <= most + after:
            self.at = start
            raise self.error(f"{dtype} holds values from {least} to {most}")
        return int(bound)

    def ahead(self, pattern: str) -> bool:
        """Whether `pattern` comes next."""
        return _pattern(pattern).match(self.text, self.at) is not None

    def take(self, pattern: str) -> str | None:
        """What `pattern` matches here, spaces around it skipped; `None` if it does not."""
        match = _pattern(pattern).match(self.text, self.at)
        if match is None:
            return None
        self.at = match.end()
        return match[1]

    def error(self, what: str, allowed: str = "") -> UsageError:
        pointer = " " * (2 + self.at) + "^"
        given = f"This input cannot be read:\n  {self.text}\n{pointer} {what}"
        return UsageError(given, allowed, EXAMPLES)


@cache
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"\s*({pattern})\s*", re.ASCII)


def _limits(dtype: str) -> tuple[int, int]:
    limits = torch.iinfo(getattr(torch, dtype))
    return limits.min, limits.max
