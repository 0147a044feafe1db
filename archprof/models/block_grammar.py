"""Block specs: a net as one line of text, and its grammar. Imports no torch.

    net    = item {" " item}
    item   = layer | "[" net "]" | "(" net ")x" times
    layer  = kind [kernel] ["-" width] {"/" option}
    option = "s" stride | "p" padding | "d" dilation | "g" groups | "nobias"

    conv5-128   convolution: kernel 5x5, 128 channels          /s /p /d /g /nobias
    tconv2-64   transposed convolution                         /s /p /g /nobias
    dw3         depthwise convolution: one filter a channel    /s /p /d /nobias
    pool2       max pooling, stride as the kernel              /s /p
    avgpool2    average pooling, stride as the kernel          /s /p
    gap         global average pooling
    linear-10   linear layer with 10 outputs, after flatten    /nobias
    bn relu lrn dropout flatten

`[ … ]` adds its input to its result, through a projection (1x1, no bias) where the shape changes; `( … )x2` stands
for its content written twice. A convolution has stride 1, a bias and "same" padding: dilation x (kernel // 2), which
keeps the size of the map where the kernel is odd. A transposed one is padded by (kernel - stride) // 2, so that an
even difference makes the map `stride` times as large. `lrn` is AlexNet's, `dropout` drops one half.

    conv11-96/s4/p0 relu lrn pool3/s2       how AlexNet starts
    (conv3-64 bn relu)x2 pool2              two 3x3 convolutions in a row
    [conv3-64 bn relu conv3-64 bn] relu     a residual block
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from archprof.errors import UsageError

LARGEST = 10_000
"""Layers that a net may have, repetitions written out."""

DEEPEST = 20
"""Brackets that may be open at once."""

EXAMPLES = "Examples: conv5-128, (conv3-64 bn relu)x2 pool2, [conv3-64 relu conv3-64] relu, gap flatten linear-10."


class Kind(NamedTuple):
    """What a layer is written with."""

    kernel: bool = False
    width: bool = False
    options: tuple[str, ...] = ()


KINDS = {
    "conv": Kind(True, True, ("s", "p", "d", "g", "nobias")),
    "tconv": Kind(True, True, ("s", "p", "g", "nobias")),
    "dw": Kind(True, False, ("s", "p", "d", "nobias")),
    "pool": Kind(True, False, ("s", "p")),
    "avgpool": Kind(True, False, ("s", "p")),
    "gap": Kind(),
    "bn": Kind(),
    "relu": Kind(),
    "lrn": Kind(),
    "dropout": Kind(),
    "flatten": Kind(),
    "linear": Kind(False, True, ("nobias",)),
}
"""Every layer by its name."""

_LAYERS = "Layers: conv5-128, tconv2-64, dw3, pool2, avgpool2, gap, bn, relu, lrn, dropout, flatten, linear-10."
_LAYER = re.compile(rf"(?:^|[\s\[(])(?:{'|'.join(KINDS)})(?=[\d\-/\s\])]|$)")
_NUMBER = r"[0-9]{1,6}(?![0-9])"


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer, every default filled in; `str()` writes it without the defaults.

    Attributes:
        kind: a key of `KINDS`.
        kernel: `None` where the kind has none, as the four below then mean nothing.
        width: channels or features that come out; `None` = as many as go in.
        stride, padding, dilation, groups: as in torch; `groups` of a depthwise convolution is not yet known.
        at: the character where it begins; not compared.
    """

    kind: str
    kernel: int | None = None
    width: int | None = None
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1
    bias: bool = True
    at: int = field(default=0, compare=False)

    def __str__(self) -> str:
        head = f"{self.kind}{self.kernel or ''}" + (f"-{self.width}" if self.width else "")
        return head + "".join(self._options())

    def _options(self) -> Iterator[str]:
        if self.kernel:
            stride = default_stride(self.kind, self.kernel)
            padding = default_padding(self.kind, self.kernel, self.stride, self.dilation)
            written = {"s": (self.stride, stride), "p": (self.padding, padding), "d": (self.dilation, 1)}
            written["g"] = (self.groups, 1)
            yield from (f"/{sign}{value}" for sign, (value, default) in written.items() if value != default)
        if not self.bias:
            yield "/nobias"


@dataclass(frozen=True, slots=True)
class Residual:
    """`[ … ]`: the input is added to the result."""

    items: tuple[Item, ...]
    at: int = field(default=0, compare=False)

    def __str__(self) -> str:
        return f"[{_joined(self.items)}]"


@dataclass(frozen=True, slots=True)
class Repeat:
    """`( … )xN`: the content, `times` times over."""

    items: tuple[Item, ...]
    times: int
    at: int = field(default=0, compare=False)

    def __str__(self) -> str:
        return f"({_joined(self.items)})x{self.times}"


@dataclass(frozen=True, slots=True)
class Net:
    """A whole block spec; `str()` writes it, and `parse` reads that back."""

    items: tuple[Item, ...]

    def __str__(self) -> str:
        return _joined(self.items)


Item: TypeAlias = "Layer | Residual | Repeat"


def _joined(items: tuple[Item, ...]) -> str:
    return " ".join(map(str, items))


def default_stride(kind: str, kernel: int) -> int:
    """Pooling does not overlap, a convolution sees every place."""
    return kernel if kind in ("pool", "avgpool") else 1


def default_padding(kind: str, kernel: int, stride: int, dilation: int) -> int:
    """None for pooling, "same" for a convolution, what multiplies the size for a transposed one."""
    if kind in ("pool", "avgpool"):
        return 0
    return max(0, kernel - stride) // 2 if kind == "tconv" else dilation * (kernel // 2)


def size(item: Item | Net) -> int:
    """Its layers, repetitions written out."""
    if isinstance(item, Layer):
        return 1
    return sum(map(size, item.items)) * (item.times if isinstance(item, Repeat) else 1)


def written_out(items: tuple[Item, ...]) -> Iterator[Layer | Residual]:
    """The items in the order of the forward, each repetition written out."""
    for item in items:
        if isinstance(item, Repeat):
            for _ in range(item.times):
                yield from written_out(item.items)
        else:
            yield item


def looks_like_blocks(text: str) -> bool:
    """Whether a MODEL is meant as a block spec: a word begins as a layer does, and it is no call or place."""
    call = re.match(r"\s*[A-Za-z_][\w.]*\(", text)
    place = ":" in text or text.rstrip().endswith(".py")
    return not call and not place and bool(_LAYER.search(text))


def broken(text: str, at: int, what: str, allowed: str = "", done: str = "built") -> UsageError:
    """The error that points at a character of a block spec which cannot be `done`."""
    shown = re.sub(r"\s", " ", text)
    return UsageError(f"This block spec cannot be {done}:\n  {shown}\n{' ' * (2 + at)}^ {what}", allowed, EXAMPLES)


def parse(text: str) -> Net:
    """Read a block spec; `UsageError` points at the character where it breaks."""
    return Net(_Reader(text).net(""))


class _Reader:
    """Reads a block spec from left to right."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.depth = text, 0, 0

    def net(self, close: str) -> tuple[Item, ...]:
        """The items up to `close`, or to the end of the text for ""."""
        items: list[Item] = []
        layers = 0
        self.take(r"\s*")
        while not self.ends(close):
            start = self.at
            items.append(self.item())
            layers += size(items[-1])
            if layers > LARGEST:
                raise self.error(f"the net has more than {LARGEST:,} layers here", at=start)
            if not self.take(r"\s+|(?=[\])]|$)", empty=True):
                raise self.error("a space was expected here")
        if not items:
            raise self.error("a layer was expected here", _LAYERS)
        return tuple(items)

    def ends(self, close: str) -> bool:
        """Whether the net ends here, which only its own bracket may do."""
        found = self.text[self.at : self.at + 1]
        if found == close:
            return True
        if found == "":
            raise self.error(f"{close!r} was expected here")
        if found in ")]":
            raise self.error(f"{close!r} was expected here" if close else f"this {found!r} closes nothing")
        return False

    def item(self) -> Item:
        start = self.at
        if self.take(r"\["):
            return Residual(self.inner("]"), at=start)
        if self.take(r"\("):
            items = self.inner(")")
            if not self.take("x"):
                raise self.error("'x' and how often were expected here, as in (conv3-64 relu)x2")
            count = self.at
            repeat = Repeat(items, self.number("how often"), at=start)
            if size(repeat) > LARGEST:
                raise self.error(f"this makes {size(repeat):,} layers; {LARGEST:,} is the most", at=count)
            return repeat
        return self.layer()

    def inner(self, close: str) -> tuple[Item, ...]:
        """The net inside a bracket, and the bracket that ends it."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise self.error(f"more than {DEEPEST} brackets are open here", at=self.at - 1)
        items = self.net(close)
        self.depth -= 1
        self.at += 1
        return items

    def layer(self) -> Layer:
        start = self.at
        name = self.take("[a-zA-Z_]+") or ""
        if name not in KINDS:
            near = difflib.get_close_matches(name, KINDS, n=1)
            meant = f"; is {near[0]} meant?" if near else ""
            raise self.error(f"a layer was expected here{meant}", _LAYERS, at=start)
        kind = KINDS[name]
        kernel = self.number("the kernel size") if kind.kernel else None
        width = self.width(name) if kind.width else None
        return self.finished(name, kernel, width, start)

    def width(self, name: str) -> int:
        what = "outputs" if name == "linear" else "channels"
        if not self.take("-"):
            raise self.error(f"'-' and the number of {what} were expected here")
        return self.number(f"the number of {what}")

    def finished(self, name: str, kernel: int | None, width: int | None, start: int) -> Layer:
        """The layer with its options read and its defaults filled in."""
        options, places = self.options(name)
        bias = options.pop("nobias", None) is None
        if kernel is None:
            return Layer(name, None, width, bias=bias, at=start)
        stride = options.get("s", default_stride(name, kernel))
        dilation, groups = options.get("d", 1), options.get("g", 1)
        padding = options.get("p", default_padding(name, kernel, stride, dilation))
        if name in ("pool", "avgpool") and padding > kernel // 2:
            raise self.error("a pooling is padded by half of its kernel at most", at=places["p"])
        if width is not None and width % groups:
            raise self.error(f"{width} channels cannot be put into {groups} groups", at=places["g"])
        return Layer(name, kernel, width, stride, padding, dilation, groups, bias, start)

    def options(self, name: str) -> tuple[dict[str, int], dict[str, int]]:
        """The options behind a layer and where each stands."""
        values, places, known = dict[str, int](), dict[str, int](), KINDS[name].options
        while self.take("/"):
            start = self.at
            sign = self.take("[a-z]+") or ""
            if sign not in known:
                allowed = f"Options of {name}: {_options(known)}." if known else f"{name} has no options."
                raise self.error(f"an option of {name} was expected here", allowed, at=start)
            if sign in values:
                raise self.error("this option is given twice", at=start)
            values[sign] = 0 if sign == "nobias" else self.number(f"a number for /{sign}", least=int(sign != "p"))
            places[sign] = start
        return values, places

    def number(self, what: str, least: int = 1) -> int:
        start = self.at
        number = self.take(_NUMBER)
        if number is None or int(number) < least:
            raise self.error(f"{what} was expected here: {least} to 999,999", at=start)
        return int(number)

    def take(self, pattern: str, empty: bool = False) -> str | None:
        """What `pattern` matches here; `None` if it does not. With `empty`, a match of nothing is " "."""
        match = re.compile(pattern).match(self.text, self.at)
        if match is None:
            return None
        self.at = match.end()
        return match[0] or (" " if empty else "")

    def error(self, what: str, allowed: str = "", at: int | None = None) -> UsageError:
        return broken(self.text, self.at if at is None else at, what, allowed, "read")


def _options(signs: tuple[str, ...]) -> str:
    meanings = {"s": "stride", "p": "padding", "d": "dilation", "g": "groups"}
    return ", ".join(f"/{sign}N ({meanings[sign]})" if sign in meanings else f"/{sign}" for sign in signs)
