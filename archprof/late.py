"""Calls by dotted name, made when they are needed.

`print(profile.table())` must work, yet records stand at the bottom of the house and renderers
at the top. The few methods that reach upwards do it here, in the open; everything else imports
downwards. It is also how a command avoids loading what it does not use.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


def find(target: str) -> Any:
    """The object that "package.module:name" names."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


def call(target: str, *args: Any, **kwargs: Any) -> Any:
    """Import the module of "package.module:function" and call the function."""
    return find(target)(*args, **kwargs)
