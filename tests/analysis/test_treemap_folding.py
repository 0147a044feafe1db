"""Equal boxes that follow one another become one, and every sum stays."""

from __future__ import annotations

import torch
from torch import nn

import archprof
from archprof.analysis.report import treemap
from archprof.analysis.report.treemap_folding import fold_equal_nodes
from archprof.analysis.report.view import PageView


def folded(model, *shape):
    view = PageView(archprof.profile(model, torch.zeros(*shape)))
    return {node.label: node for node in fold_equal_nodes(treemap.build_treemap(view))}


def test_three_equal_blocks_and_one_that_is_not():
    def block(width):
        return nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, 8))

    found = folded(nn.Sequential(block(4), block(4), block(4), block(5)), 1, 8)
    assert list(found)[1:] == ["0–2 ×3", "0", "1", "2", "3"]
    assert found["0–2 ×3"].total["macs"] == 3 * 64
    assert found["0–2 ×3"].name == "0"
    assert found["3"].total["macs"] == 80


def test_what_is_inside_of_equal_boxes_is_named_by_all_of_them():
    """What stands in three blocks of one layer each, or of two equal ones, is 3 or 6 boxes."""

    def block(layers):
        return nn.Sequential(nn.Sequential(*(nn.Linear(4, 4) for _ in range(layers))), nn.ReLU())

    profile = archprof.profile(nn.Sequential(block(1), block(1), block(1)), (1, 4))
    nodes = {node.whole_name: node for node in fold_equal_nodes(treemap.build_treemap(PageView(profile)))}
    assert [(name, node.times) for name, node in nodes.items() if name] == [
        ("0–2", 3), ("0–2.0", 3), ("0–2.0.0", 3), ("0–2.1", 3),
    ]  # fmt: skip
    assert nodes["0–2.0.0"].total["macs"] == 3 * 4 * 4
    profile = archprof.profile(nn.Sequential(block(2), block(2), block(2)), (1, 4))
    inner = {node.whole_name: node.times for node in fold_equal_nodes(treemap.build_treemap(PageView(profile)))}
    assert inner["0–2.0.0–1"] == 6


def test_a_thousand_equal_layers_are_one_box():
    found = folded(nn.Sequential(*(nn.Linear(4, 4) for _ in range(1000))), 1, 4)
    assert [node.total["params"] for node in found.values()] == [20_000, 20_000]
    assert list(found)[1:] == ["0–999 ×1,000"]


def test_boxes_nested_deeper_than_calls_go_and_nothing_at_all():
    size = dict.fromkeys(treemap.AREA_METRICS, 4.0)
    empty = dict.fromkeys(treemap.AREA_METRICS, 0.0)
    chain = [
        treemap.TreemapNode(f"n{i}", "0", f"n{i - 1}" if i else "", "S", "other", i, f"{i}", empty, size)
        for i in range(5000)
    ]
    nodes = fold_equal_nodes([*chain[:-1], chain[-1]._replace(own=size)])
    assert len(nodes) == 5000
    assert nodes[-1].own == size
    assert fold_equal_nodes(()) == ()


def test_sums_are_those_of_the_profile_at_every_level():
    for name in ("resnet50", "torchvision:googlenet", "torchvision:swin_t"):
        profile = archprof.profile(name)
        nodes = fold_equal_nodes(treemap.build_treemap(PageView(profile)))
        assert nodes[0].total["macs"] == profile.totals.macs
        for node in nodes:
            parts = [one for one in nodes if one.parent == node.id]
            for key in treemap.AREA_METRICS:
                assert node.total[key] == node.own[key] + sum(part.total[key] for part in parts)
