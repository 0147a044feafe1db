"""Which part of each weight a rank has."""

from __future__ import annotations

from collections.abc import Mapping

from archprof.errors import ArchprofError
from archprof.facts.records import Parameter, Profile
from archprof.predicting.sharding.layout import WHOLE, Layout, Ranks
from archprof.predicting.sharding.styles import REPLICATE, Style


def list_region_styles(profile: Profile, styles: Mapping[str, Style]) -> dict[int, Style]:
    """By the index of a module: the style of those whose inputs or outputs are brought into another layout.

    Raises:
        ArchprofError: a module that is neither a linear layer nor an embedding is to be cut.
    """
    found = {}
    for index, module in enumerate(profile.modules):
        style = styles.get(module.path)
        if style is None:
            continue
        own = [one for one in profile.parameters if one.module == index] if style.weights != "none" else []
        if any(len(one.spec.shape) > 2 for one in own) or module.kind == "Conv1D":
            raise ArchprofError(
                f"{module.path} is a {module.kind}, which {style.name} cannot split.",
                "Linear layers and embeddings; of other modules their parameters, each by its name.",
            )
        found[index] = _adapt(style) if is_embedding(module.kind) else style
    return found


def is_embedding(kind: str) -> bool:
    return "Embedding" in kind


def _adapt(style: Style) -> Style:
    """Indices go into an embedding as they are; of a cut vocabulary, what comes out is a sum."""
    if style.weights == "rows":
        return style._replace(input=REPLICATE, desired=REPLICATE, output=style.output or REPLICATE)
    return style


def cut_parameters(profile: Profile, styles: Mapping[str, Style], ranks: Ranks) -> list[Layout]:
    """The layout of each parameter and buffer, in order."""
    kinds = [module.kind for module in profile.modules]
    paths = [module.path for module in profile.modules]
    return [
        _cut_parameter(one, styles.get(one.name) or styles.get(paths[one.module]), kinds[one.module], ranks)
        for one in profile.parameters
    ]


def _cut_parameter(parameter: Parameter, style: Style | None, kind: str, ranks: Ranks) -> Layout:
    shape = parameter.spec.shape
    if style is None or style.weights == "none" or parameter.role == "buffer" or not shape:
        return WHOLE
    if style.weights == "experts":
        return ranks.cut(shape, 0)
    if is_embedding(kind):
        return ranks.cut(shape, 0 if style.weights == "rows" else 1)
    if style.weights == "rows":
        return WHOLE if len(shape) == 1 else ranks.cut(shape, -1, style.packed)
    if len(shape) == 1:
        return ranks.cut(shape, 0, style.packed)
    return ranks.cut(shape, -2, style.packed)
