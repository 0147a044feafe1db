"""Sequence parallelism: between its cut layers, a model's own plan leaves each rank a part of the sequence.

As torchtitan lays it out for its Llama: norms and what stands between attention and the rest work on a part of the
sequence, which is gathered before the first products of a block and scattered behind the last (Korthikanti et al.,
"Reducing activation recomputation in large transformer models", 2022, arXiv 2205.05198, section 4.2).
"""

from __future__ import annotations

from archprof.errors import UsageError
from archprof.facts.records import Profile
from archprof.predicting.sharding.plan import Plan
from archprof.predicting.sharding.styles import STYLES, Given, Style

PART: Given = ("shard", 1)
"""Of batch x sequence x features."""


def add_sequence_parallel(plan: Plan, profile: Profile) -> Plan:
    """The plan of a decoder, with the sequence cut between its cut layers.

    Raises:
        UsageError: it does not say where sums are made, or there is no embedding from which the cut begins.
    """
    embeddings = [
        one.path for one in profile.modules if one.kind.endswith("Embedding") and _is_read_once(one.path, plan)
    ]
    rows = [pattern for pattern, style in plan.rules if style.weights == "rows" and "embedding" not in style.name]
    if not embeddings or not rows:
        raise UsageError(
            f"{profile.model} has no plan to which sequence parallelism could be added.",
            "A decoder whose plan has rowwise layers, and an embedding of tokens.",
            "Try: --plan FILE, which says sequence_parallel where it is meant.",
        )
    parents = dict.fromkeys(pattern.rpartition(".")[0] for pattern in rows)
    kept = [rule for rule in plan.rules if rule[0] not in embeddings]
    rules = [_change(pattern, style, parents) for pattern, style in kept]
    norms = [one.path for one in profile.modules if one.kind.endswith("Norm") and not _is_inside(one.path, parents)]
    return Plan((
        *((path, STYLES["embedding_rowwise"]._replace(output=PART)) for path in embeddings),
        *((path, STYLES["sequence_parallel"]) for path in norms),
        *((parent, STYLES["prepare_input"]._replace(input=PART)) for parent in parents),
        *rules,
    ))  # fmt: skip


def _is_read_once(path: str, plan: Plan) -> bool:
    """An embedding of tokens, and not of positions within a block."""
    return (
        path.rpartition(".")[2] in ("embed_tokens", "wte", "tok_embeddings", "embedding") or plan.find(path) is not None
    )


def _change(pattern: str, style: Style, parents: dict[str, None]) -> tuple[str, Style]:
    """Sums are scattered; a head outside of the blocks gathers what goes in."""
    if style.weights == "rows":
        return pattern, style._replace(output=PART)
    if style.weights == "columns" and pattern.rpartition(".")[0] not in parents:
        return pattern, style._replace(input=PART)
    return pattern, style


def _is_inside(path: str, parents: dict[str, None]) -> bool:
    """Whether it is part of a module whose input is gathered."""
    probe = Plan(tuple((parent, STYLES["replicate"]) for parent in parents))
    names = path.split(".")
    return any(probe.find(".".join(names[:at])) is not None for at in range(1, len(names)))
