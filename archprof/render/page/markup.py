"""Pieces of HTML and SVG; every text and attribute value is escaped here, and nowhere else."""

from __future__ import annotations

import html
import json
import re
from typing import Any

from archprof.wording import make_visible

EMPTY_SVG_ELEMENTS = frozenset({"path", "rect", "line"})
"""Elements of SVG that hold nothing; they end in themselves."""

UNCLOSED_ELEMENTS = frozenset({"td", "th", "tr"})
"""Elements that end where the next one begins: https://html.spec.whatwg.org/#optional-tags. A page has thousands."""

_BARE = re.compile(r"[A-Za-z0-9_.#-]+")
"""Attribute values that need no quotes: https://html.spec.whatwg.org/#unquoted."""


def escape_text(text: object) -> str:
    """A text as it may stand between tags or inside a quoted attribute."""
    text = str(text)
    return text if _BARE.fullmatch(text) else html.escape(make_visible(text))  # a page has thousands of plain numbers


_BEFORE_UNIT = r"(?<=[\d\]]) (?=(?:[kMGTP]|[KMGTP]?i?B|[nu]?s|ms|px|%)(?!\w))"
_IN_INTERVAL = r"(?<=\d) (?=\[)|(?<=,) (?=[\d.,]+\])|(?<=batch) (?=\d)"
_KEPT = re.compile(f"{_BEFORE_UNIT}|{_IN_INTERVAL}")


def escape_sentence(text: object) -> str:
    """A text of words and quantities, of which no line ends between a number and its unit or inside an interval."""
    return _KEPT.sub("\u00a0", escape_text(text))


def tag(name: str, content: str = "", /, **attributes: object) -> str:
    """An element around `content`, which is markup already.

    An attribute is left out for `None` and `False`, and has no value for `True`. `class_` is written as `class`,
    `data_v` as `data-v`; a float is a coordinate, and is written with at most one decimal.
    """
    if name in EMPTY_SVG_ELEMENTS and not content:
        return f"<{name}{_attributes(attributes)} />"
    end = "" if name in UNCLOSED_ELEMENTS else f"</{name}>"
    return f"<{name}{_attributes(attributes)}>{content}{end}"


def void_tag(name: str, /, **attributes: object) -> str:
    """An HTML element that has no content, such as `input`."""
    return f"<{name}{_attributes(attributes)}>"


def _attributes(attributes: dict[str, object]) -> str:
    pieces = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        name = key.rstrip("_").replace("_", "-")
        pieces.append(f" {name}" if value is True else f" {name}={_value(value)}")
    return "".join(pieces)


def _value(value: object) -> str:
    text = coord(value) if isinstance(value, float) else str(value)
    return text if _BARE.fullmatch(text) else f'"{escape_text(text)}"'


_TAG = re.compile(r"<[a-zA-Z][^<>]*>")
_QUOTED_OR_BARE = re.compile(r'"[^"]*"|=([A-Za-z0-9_.#-]+)')


def to_xml(markup: str) -> str:
    """The same for a file of XML, which wants quotes around every value: an SVG that stands alone."""
    quote = lambda match: f'="{match[1]}"' if match[1] else match[0]  # noqa: E731
    return _TAG.sub(lambda one: _QUOTED_OR_BARE.sub(quote, one[0]), markup)


def cut_text(text: str, room: int) -> str:
    """The text, or so much of it as has room, with an ellipsis."""
    return text if len(text) <= room else f"{text[: max(room - 1, 0)]}…"


def coord(value: float) -> str:
    """A coordinate: as short as it can be with one decimal."""
    text = f"{value:.1f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def embed_json(value: Any) -> str:
    """JSON that may stand inside a `script` element: nothing in it can end that element or open a comment."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c").replace(">", "\\u003e")
