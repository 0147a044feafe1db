"""Every error a user can meet: what was given, what is allowed, what to try."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

MAX_KNOWN = 24
"""Names that an error lists."""


class ArchprofError(Exception):
    """A clear end: printed without a traceback, exit code 1.

    Attributes:
        given: what the user gave, in one sentence.
        allowed: what would have been right, or "".
        hint: what to try next, or "".
    """

    exit_code = 1

    def __init__(self, given: str, allowed: str = "", hint: str = "") -> None:
        self.given, self.allowed, self.hint = given, allowed, hint
        super().__init__("\n".join(line for line in (given, allowed, hint) if line))


class UsageError(ArchprofError):
    """The words of the command do not fit its grammar; exit code 2."""

    exit_code = 2


class UnknownName(UsageError):
    """A name that nothing here answers to; the nearest names are offered, or those that are said to be `near`."""

    def __init__(self, what: str, name: str, known: Iterable[str], hint: str = "", near: Iterable[str] = ()) -> None:
        self.name, self.known = name, sorted(known)
        near = [*near] or self._find_near()
        some = self.known[:: -(-len(self.known) // MAX_KNOWN) or 1]  # from each part of a long list
        more = f" and {len(self.known) - len(some)} more" if len(some) < len(self.known) else ""
        allowed = f"Near it: {', '.join(near)}." if near else f"Known: {', '.join(some)}{more}."
        super().__init__(f"There is no {what} called {name!r}.", allowed, hint)

    def _find_near(self) -> list[str]:
        spelled = {known.lower(): known for known in self.known}
        return [spelled[word] for word in difflib.get_close_matches(self.name[:100].lower(), spelled, n=4, cutoff=0.5)]


class TraceError(ArchprofError):
    """The model's own forward failed; `profile` holds the rows up to there."""

    def __init__(self, given: str, allowed: str = "", hint: str = "", profile: Any = None) -> None:
        super().__init__(given, allowed, hint)
        self.profile = profile


class DoesNotFit(ArchprofError):
    """A batch for which a device has too little memory: a result, and no failure of the program.

    Attributes:
        batch: the one that was tried.
    """

    def __init__(self, model: str, device: str, batch: int, why: str = "") -> None:
        self.batch = batch
        hint = "Try a smaller batch, or --batch auto, which finds the largest that fits."
        super().__init__(f"{model} does not fit on the {device} at batch {batch}.", why, hint)


class ProfileFileError(ArchprofError):
    """A saved profile that is corrupt, or newer than this archprof."""
