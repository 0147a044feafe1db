"""How long storages live once their readers read others in their place."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from archprof.predicting.sharding.edit import Place, StepEditor


class _Move(NamedTuple):
    old: int
    new: int
    place: Place
    is_output: bool


class Lives:
    """Who read which storage last, and what was put in the place of what."""

    def __init__(self, editor: StepEditor) -> None:
        self.editor = editor
        self.last: dict[int, Place] = {}
        self.last_before: dict[int, int] = {}
        self.died: list[Place | None] = [None if one.died is None else (one.died, 0, 0) for one in editor.storages]
        self.changed: set[int] = set()
        self.moves: list[_Move] = []
        profile = editor.step.profile
        made = {tensor for op in profile.ops for tensor in op.outputs}
        for position, op in enumerate(profile.ops):
            for tensor in op.inputs:
                self.last_before[profile.tensors[tensor].storage] = position
        self.given = {profile.tensors[one].storage for op in profile.ops for one in op.inputs if one not in made}

    def note(self, position: int, tensors: Iterable[int]) -> None:
        """An op reads or makes tensors."""
        for tensor in tensors:
            self._note_place(self.editor.tensors[tensor].storage, (position, 0, 0))

    def _note_place(self, storage: int, place: Place) -> None:
        self.last[storage] = max(self.last.get(storage, place), place)

    def move(self, old: int, new: int, first: Place, last: Place, *, is_output: bool) -> None:
        """A storage stands in the place of another one from here on: for all, or for those within a module."""
        self._note_place(old, last)
        self._note_place(new, last)
        self.last_before[new] = self.last_before.get(old, -1)
        self.moves.append(_Move(old, new, last, is_output))
        born = self.editor.storages[old].born
        if old in self.given and born is not None and (born, 0, 0) > first:
            self.editor.move_birth(old, first)

    def merge(self, old: int, new: int) -> None:
        """What was in one storage is in another, and the first is not made."""
        self.editor.storages[old] = self.editor.storages[old]._replace(nbytes=0)
        one, two = self.died[old], self.died[new]
        self.died[new] = None if one is None or two is None else max(one, two)
        self.last_before[new] = max(self.last_before.get(new, -1), self.last_before.get(old, -1))
        self.changed.add(new)

    def settle(self) -> None:
        """Write the ends of all that moved."""
        self.died += [None] * (len(self.editor.storages) - len(self.died))
        for move in self.moves:
            self._settle_output(move) if move.is_output else self._settle_input(move)
            self.changed |= {move.old, move.new}
        for storage in self.changed:
            self.editor.move_death(storage, self.died[storage])

    def _settle_output(self, move: _Move) -> None:
        """Whoever held the old one holds the new one."""
        self.died[move.new] = self.died[move.old]
        self.died[move.old] = max(move.place, self.last[move.old])

    def _settle_input(self, move: _Move) -> None:
        """Those outside hold the old one, the module the new one."""
        end, last = self.died[move.old], self.last[move.new]
        held_by_node = move.old not in self.given and end is not None and last[0] == self.last_before.get(move.old)
        self.died[move.new] = max(end, last) if held_by_node and end is not None else last
        storage = self.editor.storages[move.old]
        if move.old not in self.given and (storage.saved or storage.role != "activation"):
            self.died[move.old] = max(move.place, self.last[move.old])
