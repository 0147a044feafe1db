"""The garbage collector while a pass runs or a page is computed."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

MIN_COLLECTION_THRESHOLD = 10_000
"""Objects that a pass may make between two collections of the youngest."""


@contextmanager
def shorten_collections() -> Iterator[None]:
    """The garbage collector stays on, and for the length of a pass (or a page) walks only what that makes.

    A pass makes so many objects that the collector would go through all there are, which are some
    hundreds of thousands once torch is imported, and take as long over it as the pass itself; nor need
    it look at the youngest every few hundred. Nearly all of them are gone after it, so that a pass brings
    the next full collection nearer by one step and not by one for every few thousand objects.
    """
    first, *others = threshold = gc.get_threshold()
    if gc.get_freeze_count() or not gc.isenabled() or not first:  # the user has settled it otherwise
        yield
        return
    due = min(gc.get_count()[2], threshold[2] + 1)
    gc.freeze()
    gc.set_threshold(max(first, MIN_COLLECTION_THRESHOLD), *others)
    try:
        yield
    finally:
        gc.set_threshold(*threshold)
        gc.freeze()  # sets the steps to zero
        gc.unfreeze()
        for _ in range(due + 1):
            gc.collect(1)
