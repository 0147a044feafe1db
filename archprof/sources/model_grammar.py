"""The grammar of MODEL: what names a model.

    model  = [where ":"] name ["(" argument {"," argument} ")"] ["@" revision]
    where  = "torchvision" | "timm" | "hf" | a file ending in ".py" | a dotted module
    argument = keyword "=" Python literal

`vgg16`, `vgg16(num_classes=10)`, `timm:vit_tiny_patch16_224`, `nets/mine.py:Net(width=2)`, `package.module:Net.small`.
A revision is any that git knows, and follows a file only: `net.py:Net@HEAD~1`.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from typing import Any

from archprof.errors import UsageError
from archprof.sources.literals import UNREADABLE, parse_expression

MODEL_EXAMPLES = (
    "Examples: vgg16, vgg16(num_classes=10), torchvision:resnet50, timm:vit_tiny_patch16_224, hf:bert-base, "
    "net.py:Net, pkg.mod:Net."
)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A MODEL taken apart.

    Attributes:
        where: "" for a bare name, "torchvision", "timm", "hf" for transformers, a path to a Python file, or a dotted
            module.
        name: of the model there; dotted inside a file or module.
        kwargs: what it is called with; `None`: no parentheses were given.
        revision: of the file's git repository; `None`: the file as it is.
    """

    where: str
    name: str
    kwargs: dict[str, Any] | None = field(default=None)
    revision: str | None = None

    @property
    def is_file(self) -> bool:
        return self.where.endswith(".py")


def parse_model(text: str) -> ModelSpec:
    """Take a MODEL apart; nothing is evaluated. `UsageError` says what is wrong."""
    given, revision = _split_revision(text.strip())
    head, kwargs = _split_call(given)
    where, _, name = head.rpartition(":")
    if not where and name.endswith(".py"):
        raise UsageError(
            f"{text!r} is a file, not a model.", "Say which class, factory or module in it.", f"Try: {name}:Model"
        )
    if head.startswith(":") or not name:
        raise UsageError(f"{text!r} does not name a model.", "MODEL is a name, or place:name.", MODEL_EXAMPLES)
    return ModelSpec(where.strip(), name.strip(), kwargs, revision)


def _split_revision(text: str) -> tuple[str, str | None]:
    """The part before the revision, and the revision; a file's path may have an @ in it, and so may a revision."""
    match = re.fullmatch(r"(.*\.py:[\w.]+(?:\(.*\))?)@(.*)", text, re.DOTALL)
    if match is None:
        return text, None
    if not match[2].strip():
        raise UsageError(f"{text!r} names no revision after the @.", "", "Try: net.py:Net@HEAD~1")
    return match[1], match[2].strip()


def _split_call(text: str) -> tuple[str, dict[str, Any] | None]:
    """The part before the call and its keyword arguments; `None` where nothing is called."""
    if not text.endswith(")"):
        if "(" in text.rpartition(":")[2]:
            raise UsageError(f"{text!r} opens a parenthesis and does not end with one.", "", MODEL_EXAMPLES)
        return text, None
    for at, character in enumerate(text):
        if character == "(":
            call = _parse_call(text[at:])
            if call is not None:
                return text[:at], _read_literals(call, text)
    raise UsageError(f"The arguments of {text!r} are not Python.", "name(keyword=literal, …)", MODEL_EXAMPLES)


def _parse_call(parentheses: str) -> ast.Call | None:
    """The call that "(…)" would be; `None` if it is not one."""
    try:
        tree = parse_expression(f"f{parentheses}")
    except UNREADABLE:
        return None
    return tree if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) else None


def _read_literals(call: ast.Call, text: str) -> dict[str, Any]:
    """The keyword arguments of a call, each a literal."""
    if call.args or any(keyword.arg is None for keyword in call.keywords):
        raise UsageError(f"{text!r} has an argument without a name.", "Only name(keyword=literal, …).", MODEL_EXAMPLES)
    return {str(keyword.arg): _read_literal(keyword, text) for keyword in call.keywords}


def _read_literal(keyword: ast.keyword, text: str) -> Any:
    try:
        return ast.literal_eval(keyword.value)
    except UNREADABLE:
        raise UsageError(
            f"{keyword.arg}={_show_source(keyword.value)} in {text!r} is not a literal.",
            "Numbers, strings, True, False, None, and tuples, lists and dicts of them; nothing is evaluated.",
            MODEL_EXAMPLES,
        ) from None


def _show_source(value: ast.expr) -> str:
    try:
        return ast.unparse(value)
    except RecursionError:  # a sum of a thousand terms
        return "…"
