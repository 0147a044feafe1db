"""Where the random generators of Python and numpy are: cheap to compare before and after a pass, and put back."""

from __future__ import annotations

import ctypes
import random
import sys
from typing import Any

TWISTER_WORDS, TWISTER_BYTES = 624, 4 * 624 + 4
"""The state of a Mersenne twister: its words, and with how many of them are used up."""


class NumpyState:
    """The state of numpy's global generator, to be put back; which takes ten times as long as to compare it."""

    def __init__(self) -> None:
        self._numpy = sys.modules.get("numpy.random")
        self._state: Any = self._numpy and self._numpy.get_state()
        self._raw = read_raw_twister()

    def restore(self) -> None:
        has_spare = self._numpy is not None and bool(self._state[3])  # of two normal numbers that were drawn at once
        if self._numpy is not None and (has_spare or self._raw is None or self._raw != read_raw_twister()):
            self._numpy.set_state(self._state)


def read_raw_twister() -> bytes | None:
    """The memory of numpy's global generator: its words, then how many are used; `None` if it is of another kind."""
    module = sys.modules.get("numpy.random")
    find_generator = getattr(module, "get_bit_generator", None)
    generator: Any = find_generator() if find_generator else None
    if type(generator).__name__ != "MT19937":
        return None
    return ctypes.string_at(generator.ctypes.state_address, TWISTER_BYTES)


def find_python_states() -> list[tuple[int, Any]]:
    """Where Python's generator is, and numpy's if that was imported: how many words are used up, and the words."""
    words = random.getstate()[1]
    states: list[tuple[int, Any]] = [(words[-1], words)]
    raw = read_raw_twister()
    if raw is not None:
        states.append((int.from_bytes(raw[-4:], sys.byteorder), raw))
    elif "numpy.random" in sys.modules:
        _, drawn, used, *_ = sys.modules["numpy.random"].get_state()
        states.append((used, drawn.tobytes()))
    return states
