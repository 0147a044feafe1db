"""The scatter of different nets: every pair of measures, over what torchvision publishes of its own."""

from __future__ import annotations

from dataclasses import replace

import pytest

import archprof
from archprof.analysis.report.appendix import build_appendix
from archprof.analysis.report.page import build_report
from archprof.analysis.report.tiles import build_tiles
from archprof.analysis.report.view import PageView
from archprof.models.published_nets import load_published_nets, load_timm_nets


def test_published_nets_are_those_of_the_weights_metadata() -> None:
    models = pytest.importorskip("torchvision.models")
    for net in load_published_nets():
        meta = models.get_model_weights(net.name)[net.weights].meta
        right = meta["_metrics"]["ImageNet-1K"]
        assert (net.params, net.macs) == (meta["num_params"], round(meta["_ops"] * 1e9))
        assert net.top1_error == pytest.approx(100 - right["acc@1"])
        assert net.top5_error == pytest.approx(100 - right["acc@5"])
    assert {net.name for net in load_published_nets()} == set(models.list_models(module=models))


def scatters(*profiles: archprof.Profile) -> dict[str, object]:
    return {series.key: series for series in build_report(profiles).charts if series.kind == "scatter"}


def test_every_measure_stands_against_every_other() -> None:
    found = scatters(archprof.profile("resnet18"), archprof.profile("vgg11"))
    costs = ("macs", "params", "activation_bytes", "peak")
    assert set(found) == {f"{y}_{x}" for y in ("error", "params") for x in costs if x != y}
    assert next(iter(found)) == "error_macs"
    # 11,689,512 and 132,863,336 parameters; the weights of each are floats of 4 bytes, and alive all along
    drawn = [points[0] for points in found["params_peak"].points[:2]]
    assert [y for _, y, _ in drawn] == [11_689_512, 132_863_336]
    assert all(x > 4 * y for x, y, _ in drawn)


def test_grey_nets_stand_only_where_they_are_neighbours() -> None:
    found = scatters(archprof.profile("resnet18"), archprof.profile("vgg11"))
    behind = {name: (x, y) for x, y, name in found["error_macs"].backdrop}
    assert behind["resnet50"] == (4_089_000_000, 7.138)  # torchvision's 4.089 GFLOPS, 92.862 % right
    assert {"resnet18", "vgg11"}.isdisjoint(behind)
    names = {net.name for net in (*load_published_nets(), *load_timm_nets())} - {"resnet18", "vgg11"}
    assert behind.keys() == names - {"timm:resnet18 at 224 px", "timm:vgg11 at 224 px"}  # which cost what the models do
    # timm's results: 98.092 % right at 288 x 288; 15.36 G at 224 x 224, as torchvision publishes, grow with the area
    macs, error = behind["timm:convnext_base at 288 px"]
    assert (macs / 1e9, error) == (pytest.approx(15.36 * (288 / 224) ** 2, rel=0.005), 1.908)
    assert not found["params_peak"].backdrop
    small = scatters(archprof.profile("resnet20_cifar"), archprof.profile("resnet56_cifar"))
    assert not any(series.backdrop for series in small.values())
    many = scatters(*(archprof.profile(name, batch=2) for name in ("resnet18", "vgg11")))
    assert not any(series.backdrop for series in many.values())


def test_nets_of_timm_cost_what_torchvision_publishes_of_the_same() -> None:
    """At the size of torchvision's weights; its inception_v3 counts the auxiliary classifier, which timm leaves out."""
    published, same = {net.name: net for net in load_published_nets()}, set[str]()
    for net in load_timm_nets():
        name, _, size = net.name.removeprefix("timm:").partition(" at ")
        if name in published and size == ("299 px" if name == "inception_v3" else "224 px"):
            same.add(name)
            assert net.macs == pytest.approx(published[name].macs, rel=5e-4), name
            assert net.params == published[name].params or name == "inception_v3"
    assert len(same) == 24


def test_a_model_that_is_not_drawn_stays_among_the_grey_nets() -> None:
    pytest.importorskip("torchvision")
    small = archprof.profile("torchvision:mobilenet_v2", "3x160x160")
    found = scatters(archprof.profile("resnet18"), archprof.profile("vgg11"), small)
    assert "mobilenet_v2" in {name for _, _, name in found["error_macs"].backdrop}
    assert "mobilenet_v2" not in {name for _, _, name in found["params_macs"].backdrop}


@pytest.mark.parametrize("name", ["swin_t", "vit_b_16", "mobilenet_v3_small", "inception_v3"])
def test_a_net_of_torchvision_has_the_error_of_its_weights(name: str) -> None:
    """As its metadata publish it, where the pass is theirs: not at another size, nor with other classes."""
    models = pytest.importorskip("torchvision.models")
    size = models.get_model_weights(name).IMAGENET1K_V1.transforms().crop_size[0]
    profile = archprof.profile(f"torchvision:{name}", f"3x{size}x{size}", batch=2)
    accuracy = models.get_model_weights(name).IMAGENET1K_V1.meta["_metrics"]["ImageNet-1K"]["acc@5"]
    view = PageView(profile)
    assert view.top5_error == pytest.approx(100 - accuracy)
    assert view.error_source == "single model: torchvision weights metadata, IMAGENET1K_V1"
    tiles = {tile.key: tile.value for tile in build_tiles(view)}
    assert tiles["top5_error"] == view.top5_error
    assert any(name in line for _, lines in build_appendix([profile], "") for line in lines if "top-5" in line)
    assert PageView(replace(profile, model=name)).top5_error == view.top5_error
    other = replace(profile, model="torchvision:vit_l_16")
    assert PageView(other).top5_error is None
    assert PageView(replace(profile, model=f"timm:{name}")).top5_error is None
