"""Every architecture of the zoos under the watch of the harm test: profiled, and as it was before, the process too.

    python tests/zoo/harm.py harm.csv                      all of them, two processes; ends where it was stopped
    python tests/zoo/harm.py harm.csv --zoo timm --jobs 4
    python tests/zoo/harm.py harm.csv --summary            only the summary of what is there

Each model is built as `tests/zoo/sweep.py` builds it, set in training with some parts frozen, and profiled twice:
one forward pass and one training step.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from test_peers_damage import of_model, of_process
from tracing.test_harm import of_python, set_as_users_do
from zoo.sweep import main, run_model, words_of

import archprof
from archprof.errors import ArchprofError
from archprof.sources.input_grammar import NamedInput
from archprof.sources.target import Target


@dataclass
class Row:
    """What came of one model.

    Attributes:
        model: as `archprof table` takes it.
        how: "same", "changed", "failed", or "unusable": its library cannot build or run its own defaults.
        why: of a failure, in the words of the error; of a change, where it is.
        device: on which the forward pass was traced: "meta" or "cpu".
        train: of a training step that was refused, in the words of the error; empty where there was one.
        seconds: to build and profile it, and to look at it.
    """

    model: str
    how: str = "failed"
    why: str = ""
    device: str = ""
    train: str = ""
    seconds: float = 0.0


def run(model: str) -> Row:
    """One model; whatever happens is in its row."""
    row: Row = run_model(Row(model), watch)
    return row


def watch(target: Target, row: Row, start: float) -> None:
    """Profile a forward pass and a training step, and look for what they changed; also where they fail."""
    model = target.model
    inputs = [*target.args, *(NamedInput(name, value) for name, value in target.kwargs.items())]
    set_as_users_do(model)
    before = look(model)
    try:
        row.device = archprof.profile(model, inputs).ran.device
        try:
            archprof.profile(model, inputs, train=True)
        except ArchprofError as error:  # some cannot be trained, or not with parts frozen
            row.train = words_of(error)
        row.how = "same"
    finally:
        changes = list(differences(before, look(model)))
        if changes:
            row.how, row.why = "changed", "; ".join(changes[:5])
    row.seconds = round(time.perf_counter() - start, 2)


def look(model: Any) -> dict[str, Any]:
    """All that the harm test watches."""
    return {"model": of_model(model), "torch": of_process(), "python": of_python()}


def differences(before: Any, after: Any, place: str = "") -> list[str]:
    """Where two looks are not equal, at the deepest places that both have."""
    if before == after:
        return []
    if isinstance(before, dict) and isinstance(after, dict):
        pairs = [(key, before.get(key, "nothing"), after.get(key, "nothing")) for key in {**before, **after}]
    elif isinstance(before, list | tuple) and isinstance(after, list | tuple) and len(before) == len(after):
        pairs = [(at, old, new) for at, (old, new) in enumerate(zip(before, after, strict=True))]
    else:
        return [f"{place}: {before!s:.60} is {after!s:.60}"]
    return [found for key, old, new in pairs for found in differences(old, new, f"{place}/{key}")]


def summary(rows: list[Row]) -> str:
    """Counts, and every model that was changed or could not be profiled."""
    how = Counter(row.how for row in rows)
    tried = len(rows) - how["unusable"]
    lines = [
        f"{tried} tried: {how['same']} as they were, {how['changed']} changed, {how['failed']} failed; "
        f"{how['unusable']} whose defaults the library itself cannot build or run",
        f"  on real tensors: {sum(row.device == 'cpu' for row in rows)}; "
        f"training step refused: {sum(bool(row.train) for row in rows)}",
    ]
    lines += [f"  {row.model}: {row.how}: {row.why}" for row in rows if row.how not in ("same", "unusable")]
    lines += [f"  {row.model}: not trained: {row.train}" for row in rows if row.train]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main(run, Row, summary)
