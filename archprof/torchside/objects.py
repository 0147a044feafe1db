"""Objects of classes that nothing is known of: what they are made of, and a first copy."""

from __future__ import annotations

import copy
from typing import Any

COPY_METHODS = ("__reduce_ex__", "__reduce__", "__getstate__", "__setstate__", "__deepcopy__", "__copy__")
"""A class with one of its own knows how its objects are copied."""


class _Plain:
    """An object of it has attributes, and nothing beside them."""


def find_slots(kind: type) -> tuple[str, ...]:
    """The attributes of a class that lie beside its `__dict__`."""
    found = [vars(base).get("__slots__", ()) for base in kind.__mro__]
    names = [name for slots in found for name in ((slots,) if isinstance(slots, str) else slots)]
    return tuple(name for name in names if name not in ("__dict__", "__weakref__"))


def copy_shallow(value: Any) -> Any:
    """A copy that holds the same; an empty one of a dict whose items are its attributes, which misleads `copy`."""
    try:
        return copy.copy(value)
    except Exception:
        if not isinstance(value, dict):
            raise
        return type(value).__new__(type(value))


def is_only_attributes(value: Any) -> bool:
    """Whether an object is its `__dict__` and nothing else."""
    kind = type(value)
    own = any(getattr(kind, way, None) is not getattr(object, way, None) for way in COPY_METHODS)
    return hasattr(value, "__dict__") and kind.__basicsize__ == _Plain.__basicsize__ and not own
