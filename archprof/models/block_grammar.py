"""Block specs: a net as one line of text, and its grammar. Imports no torch.

    net    = item {" " item}
    item   = layer | "[" net "]" | "(" net ")x" times
    layer  = kind [kernel] ["-" width] {"/" option}
    option = "s" stride | "p" padding | "d" dilation | "g" groups | "nobias"

    conv5-128   convolution: kernel 5x5, 128 channels          /s /p /d /g /nobias
    tconv2-64   transposed convolution                         /s /p /g /nobias
    dw3         depthwise convolution: one filter per channel    /s /p /d /nobias
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

MAX_NET_LAYERS = 10_000
"""Layers that a net may have, repetitions written out."""

MAX_BLOCK_NESTING = 20
"""Brackets that may be open at once."""

BLOCK_EXAMPLES = (
    "Examples: conv5-128, (conv3-64 bn relu)x2 pool2, [conv3-64 relu conv3-64] relu, gap flatten linear-10."
)


class LayerKind(NamedTuple):
    """What a layer is written with."""

    has_kernel: bool = False
    has_width: bool = False
    options: tuple[str, ...] = ()


LAYER_KINDS = {
    "conv": LayerKind(True, True, ("s", "p", "d", "g", "nobias")),
    "tconv": LayerKind(True, True, ("s", "p", "g", "nobias")),
    "dw": LayerKind(True, False, ("s", "p", "d", "nobias")),
    "pool": LayerKind(True, False, ("s", "p")),
    "avgpool": LayerKind(True, False, ("s", "p")),
    "gap": LayerKind(),
    "bn": LayerKind(),
    "relu": LayerKind(),
    "lrn": LayerKind(),
    "dropout": LayerKind(),
    "flatten": LayerKind(),
    "linear": LayerKind(False, True, ("nobias",)),
}
"""Every layer by its name."""

_LAYER_EXAMPLES = "Layers: conv5-128, tconv2-64, dw3, pool2, avgpool2, gap, bn, relu, lrn, dropout, flatten, linear-10."
_LAYER_PATTERN = re.compile(rf"(?:^|[\s\[(])(?:{'|'.join(LAYER_KINDS)})(?=[\d\-/\s\])]|$)")
_NUMBER_PATTERN = r"[0-9]{1,6}(?![0-9])"


@dataclass(frozen=True, slots=True)
class LayerSpec:
    """One layer, every default filled in; `str()` writes it without the defaults.

    Attributes:
        kind: a key of `LAYER_KINDS`.
        kernel: `None` where the kind has none, as the four below then mean nothing.
        width: channels or features that come out; `None` = as many as go in.
        stride, padding, dilation, groups: as in torch; `groups` of a depthwise convolution is not yet known.
        position: the character where it begins; not compared.
    """

    kind: str
    kernel: int | None = None
    width: int | None = None
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1
    bias: bool = True
    position: int = field(default=0, compare=False)

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
class ResidualSpec:
    """`[ … ]`: the input is added to the result."""

    items: tuple[BlockItem, ...]
    position: int = field(default=0, compare=False)

    def __str__(self) -> str:
        return f"[{_join_items(self.items)}]"


@dataclass(frozen=True, slots=True)
class RepeatSpec:
    """`( … )xN`: the content, `times` times over."""

    items: tuple[BlockItem, ...]
    times: int
    position: int = field(default=0, compare=False)

    def __str__(self) -> str:
        return f"({_join_items(self.items)})x{self.times}"


@dataclass(frozen=True, slots=True)
class BlockSpec:
    """A whole block spec; `str()` writes it, and `parse_blocks` reads that back."""

    items: tuple[BlockItem, ...]

    def __str__(self) -> str:
        return _join_items(self.items)


BlockItem: TypeAlias = "LayerSpec | ResidualSpec | RepeatSpec"


def _join_items(items: tuple[BlockItem, ...]) -> str:
    return " ".join(map(str, items))


def default_stride(kind: str, kernel: int) -> int:
    """Pooling does not overlap, a convolution sees every place."""
    return kernel if kind in ("pool", "avgpool") else 1


def default_padding(kind: str, kernel: int, stride: int, dilation: int) -> int:
    """None for pooling, "same" for a convolution, what multiplies the size for a transposed one."""
    if kind in ("pool", "avgpool"):
        return 0
    return max(0, kernel - stride) // 2 if kind == "tconv" else dilation * (kernel // 2)


def count_layers(item: BlockItem | BlockSpec) -> int:
    """Its layers, repetitions written out."""
    if isinstance(item, LayerSpec):
        return 1
    return sum(map(count_layers, item.items)) * (item.times if isinstance(item, RepeatSpec) else 1)


def expand_repeats(items: tuple[BlockItem, ...]) -> Iterator[LayerSpec | ResidualSpec]:
    """The items in the order of the forward, each repetition written out."""
    for item in items:
        if isinstance(item, RepeatSpec):
            for _ in range(item.times):
                yield from expand_repeats(item.items)
        else:
            yield item


def looks_like_blocks(text: str) -> bool:
    """Whether a MODEL is meant as a block spec: a word begins as a layer does, and it is no call or place."""
    call = re.match(r"\s*[A-Za-z_][\w.]*\(", text)
    place = ":" in text or text.rstrip().endswith(".py")
    return not call and not place and bool(_LAYER_PATTERN.search(text))


def make_block_error(text: str, at: int, what: str, allowed: str = "", done: str = "built") -> UsageError:
    """The error that points at a character of a block spec which cannot be `done`."""
    shown = re.sub(r"\s", " ", text)
    return UsageError(
        f"This block spec cannot be {done}:\n  {shown}\n{' ' * (2 + at)}^ {what}", allowed, BLOCK_EXAMPLES
    )


def parse_blocks(text: str) -> BlockSpec:
    """Read a block spec; `UsageError` points at the character where it breaks."""
    return BlockSpec(_BlockReader(text).read_items(""))


class _BlockReader:
    """Reads a block spec from left to right."""

    def __init__(self, text: str) -> None:
        self.text, self.position, self.depth = text, 0, 0

    def read_items(self, close: str) -> tuple[BlockItem, ...]:
        """The items up to `close`, or to the end of the text for ""."""
        items: list[BlockItem] = []
        layers = 0
        self.take(r"\s*")
        while not self.ends_here(close):
            start = self.position
            items.append(self.read_item())
            layers += count_layers(items[-1])
            if layers > MAX_NET_LAYERS:
                raise self.make_error(f"the net has more than {MAX_NET_LAYERS:,} layers here", at=start)
            if not self.take(r"\s+|(?=[\])]|$)", empty=True):
                raise self.make_error("a space was expected here")
        if not items:
            raise self.make_error("a layer was expected here", _LAYER_EXAMPLES)
        return tuple(items)

    def ends_here(self, close: str) -> bool:
        """Whether the net ends here, which only its own bracket may do."""
        found = self.text[self.position : self.position + 1]
        if found == close:
            return True
        if found == "":
            raise self.make_error(f"{close!r} was expected here")
        if found in ")]":
            raise self.make_error(f"{close!r} was expected here" if close else f"this {found!r} closes nothing")
        return False

    def read_item(self) -> BlockItem:
        start = self.position
        if self.take(r"\["):
            return ResidualSpec(self.read_bracket("]"), position=start)
        if self.take(r"\("):
            items = self.read_bracket(")")
            if not self.take("x"):
                raise self.make_error("'x' and how often were expected here, as in (conv3-64 relu)x2")
            count = self.position
            repeat = RepeatSpec(items, self.read_number("how often"), position=start)
            if count_layers(repeat) > MAX_NET_LAYERS:
                raise self.make_error(
                    f"this makes {count_layers(repeat):,} layers; {MAX_NET_LAYERS:,} is the most", at=count
                )
            return repeat
        return self.read_layer()

    def read_bracket(self, close: str) -> tuple[BlockItem, ...]:
        """The net inside a bracket, and the bracket that ends it."""
        self.depth += 1
        if self.depth > MAX_BLOCK_NESTING:
            raise self.make_error(f"more than {MAX_BLOCK_NESTING} brackets are open here", at=self.position - 1)
        items = self.read_items(close)
        self.depth -= 1
        self.position += 1
        return items

    def read_layer(self) -> LayerSpec:
        start = self.position
        name = self.take("[a-zA-Z_]+") or ""
        if name not in LAYER_KINDS:
            near = difflib.get_close_matches(name, LAYER_KINDS, n=1)
            meant = f"; is {near[0]} meant?" if near else ""
            raise self.make_error(f"a layer was expected here{meant}", _LAYER_EXAMPLES, at=start)
        kind = LAYER_KINDS[name]
        kernel = self.read_number("the kernel size") if kind.has_kernel else None
        width = self.read_width(name) if kind.has_width else None
        return self.read_options_and_finish(name, kernel, width, start)

    def read_width(self, name: str) -> int:
        what = "outputs" if name == "linear" else "channels"
        if not self.take("-"):
            raise self.make_error(f"'-' and the number of {what} were expected here")
        return self.read_number(f"the number of {what}")

    def read_options_and_finish(self, name: str, kernel: int | None, width: int | None, start: int) -> LayerSpec:
        """The layer with its options read and its defaults filled in."""
        options, places = self.read_options(name)
        bias = options.pop("nobias", None) is None
        if kernel is None:
            return LayerSpec(name, None, width, bias=bias, position=start)
        stride = options.get("s", default_stride(name, kernel))
        dilation, groups = options.get("d", 1), options.get("g", 1)
        padding = options.get("p", default_padding(name, kernel, stride, dilation))
        if name in ("pool", "avgpool") and padding > kernel // 2:
            raise self.make_error("a pooling is padded by half of its kernel at most", at=places["p"])
        if width is not None and width % groups:
            raise self.make_error(f"{width} channels cannot be put into {groups} groups", at=places["g"])
        return LayerSpec(name, kernel, width, stride, padding, dilation, groups, bias, start)

    def read_options(self, name: str) -> tuple[dict[str, int], dict[str, int]]:
        """The options behind a layer and where each stands."""
        values, places, known = dict[str, int](), dict[str, int](), LAYER_KINDS[name].options
        while self.take("/"):
            start = self.position
            sign = self.take("[a-z]+") or ""
            if sign not in known:
                allowed = f"Options of {name}: {_describe_options(known)}." if known else f"{name} has no options."
                raise self.make_error(f"an option of {name} was expected here", allowed, at=start)
            if sign in values:
                raise self.make_error("this option is given twice", at=start)
            values[sign] = 0 if sign == "nobias" else self.read_number(f"a number for /{sign}", least=int(sign != "p"))
            places[sign] = start
        return values, places

    def read_number(self, what: str, least: int = 1) -> int:
        start = self.position
        number = self.take(_NUMBER_PATTERN)
        if number is None or int(number) < least:
            raise self.make_error(f"{what} was expected here: {least} to 999,999", at=start)
        return int(number)

    def take(self, pattern: str, empty: bool = False) -> str | None:
        """What `pattern` matches here; `None` if it does not. With `empty`, a match of nothing is " "."""
        match = re.compile(pattern).match(self.text, self.position)
        if match is None:
            return None
        self.position = match.end()
        return match[0] or (" " if empty else "")

    def make_error(self, what: str, allowed: str = "", at: int | None = None) -> UsageError:
        return make_block_error(self.text, self.position if at is None else at, what, allowed, "read")


def _describe_options(signs: tuple[str, ...]) -> str:
    meanings = {"s": "stride", "p": "padding", "d": "dilation", "g": "groups"}
    return ", ".join(f"/{sign}N ({meanings[sign]})" if sign in meanings else f"/{sign}" for sign in signs)
