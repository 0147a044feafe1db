"""What was asked of causal attention, and where it does nothing: said in the notes of a profile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from archprof.facts.records import Op

TENSORS_WITHOUT_MASK = 3
"""Query, key and value: a further tensor that an attention reads is its mask."""

HALF_NOTE = "Causal attention is counted half: only the scores that is_causal leaves."

MASK_NOTE = (
    "{masked} of {all} attentions have a mask given as a tensor, which is not read: all their scores are counted."
)


def make_causal_notes(causal: str, ops: Sequence[Op]) -> Iterator[str]:
    """The notes for a pass whose causal attention was asked to be counted so."""
    if causal == "full":
        return
    attentions = [op for op in ops if op.phase == "forward" and "scaled_dot_product" in op.name]
    if not attentions:
        return
    yield HALF_NOTE
    masked = sum(len(op.inputs) > TENSORS_WITHOUT_MASK for op in attentions)
    if masked:
        yield MASK_NOTE.format(masked=masked, all=len(attentions))
