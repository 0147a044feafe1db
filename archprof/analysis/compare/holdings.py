"""What each of several models holds at one place, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from string import ascii_uppercase

from archprof.analysis.tables.stages import Stage
from archprof.analysis.view import ProfileView
from archprof.facts.records import Op, Profile
from archprof.wording import show_shape


def describe_row(view: ProfileView, row: int) -> str:
    """Its kind, and the shape of what it returns without the batch dimension."""
    layer = view.layer(row)
    shape = show_shape(layer.outputs[0].shape[1:], "") if layer.outputs else ""
    return f"{layer.kind} {shape}".strip()


def list_contents(view: ProfileView, stage: Stage) -> str:
    """What works there, by its ops: "2 conv, 1 pool"; its kinds where nothing does."""
    profile, ops = view.profile, (view.profile.ops[index] for index in stage.ops)
    words = Counter(_word(profile, op) for op in ops if op.phase == "forward")
    kinds = dict.fromkeys(view.layer(i).kind for i in stage.rows)
    return ", ".join(f"{count} {word}" for word, count in words.items() if word) or ", ".join(kinds)


def _word(profile: Profile, op: Op) -> str:
    """What an op is to a designer; "" for norms, activations and whatever moves data."""
    name = op.name.removeprefix("aten.")
    for part, word in (("convolution", "conv"), ("attention", "attention"), ("pool", "pool")):
        if part in name and op.status == "counted":
            return word
    if not op.macs:
        return ""
    if name in ("lstm", "gru", "rnn_tanh", "rnn_relu"):
        return "recurrent"
    return "linear" if profile.reads_parameter(op) else "matmul"


def join_holdings(holds: Sequence[str | None]) -> str | None:
    """What each holds under its letter, once where it is the same; `None` where there is nothing to say."""
    said: dict[str, list[str]] = {}
    for letter, text in zip(ascii_uppercase, holds, strict=False):
        if text:
            said.setdefault(text, []).append(letter)
    if len(said) == 1 and None not in holds:
        return next(iter(said))
    return "; ".join(f"{', '.join(letters)}: {text}" for text, letters in said.items()) or None
