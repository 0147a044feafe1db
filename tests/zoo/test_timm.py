"""timm: parameters against its published table, its own inputs, and clear words."""

from __future__ import annotations

import pytest

import archprof
from archprof.errors import UnknownName, UsageError
from archprof.sources.resolve import resolve

pytest.importorskip("timm")

PUBLISHED = {
    # name: parameters in millions and GMACs, as the model cards of timm give them
    "resnet50": (25.6, 4.1),
    "convnext_tiny": (28.6, 4.5),
    "vit_base_patch16_224": (86.6, 16.9),
    "efficientnet_b0": (5.3, 0.4),
    "swin_tiny_patch4_window7_224": (28.3, 4.5),
    "mixer_b16_224": (59.9, 12.6),
    "regnety_032": (19.4, 3.2),
    "deit3_small_patch16_224": (22.1, 4.6),
    "efficientnet_b1_pruned": (6.3, 0.4),  # copies storages while it is built
}

WITHOUT_ATTENTION = {"vit_base_patch16_224": 0.72}
"""GMACs of the products inside attention, which those cards leave out: 12 layers x 2 x 197 x 197 x width."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_figures(name: str) -> None:
    totals = archprof.profile(f"timm:{name}").totals
    params, macs = PUBLISHED[name]
    assert round(totals.params / 1e6, 1) == params
    assert totals.macs / 1e9 == pytest.approx(macs + WITHOUT_ATTENTION.get(name, 0), abs=0.06)
    assert totals.complete


def test_the_default_input_is_that_of_its_configuration() -> None:
    assert archprof.profile("timm:tinynet_e").inputs == ("3x106x106",)
    assert archprof.profile("timm:vit_tiny_patch16_224(img_size=96, in_chans=1)").inputs == ("1x96x96",)


def test_what_is_not_there_is_said() -> None:
    with pytest.raises(UnknownName, match="resnet50"):
        resolve("timm:resnet5O")
    with pytest.raises(UsageError, match="without trained weights"):
        resolve("timm:resnet50(pretrained=True)")
