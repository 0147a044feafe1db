"""Which row's forward made a node of autograd."""

from __future__ import annotations

from bisect import bisect_right

from archprof.torchside.private import next_sequence_number


class NodeOwners:
    """Which row's forward made an autograd node, by the node's sequence number.

    The dispatcher sees an op just after autograd has made its node, so the newest number belongs to
    the op at hand. An op that makes no node sees an old number, which keeps its first owner.
    """

    def __init__(self) -> None:
        self._numbers: list[int] = []
        self._rows: list[int] = []

    def note_row(self, row: int) -> int:
        """Returns the number of the newest node, which is that of the op at hand if it has one."""
        number = next_sequence_number() - 1
        if not self._numbers or number > self._numbers[-1]:
            self._numbers.append(number)
            self._rows.append(row)
        return number

    def find_row(self, number: int) -> int | None:
        """The owner of that number, or of the nearest before it: a node made with no op of its own."""
        place = bisect_right(self._numbers, number)
        return self._rows[place - 1] if place else None
