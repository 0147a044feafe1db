"""What is said of a probe, against overlays written by hand; the pictures, against the numbers that they show."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

import archprof
from archprof.analysis.depth_charts import build_probe_charts, build_run_charts
from archprof.analysis.probe_findings import observe_probe, say_fold
from archprof.analysis.tables.probe import tabulate_probes
from archprof.analysis.view import ProfileView
from archprof.facts.probed import Activation, Gradient, Probe
from archprof.facts.ran import Ran
from archprof.facts.records import Profile
from archprof.facts.trained import Epoch, Filters, Flow, FlowPoint, TrainedModel, TrainingRun
from archprof.render.page.depth_svg import render_line_chart
from archprof.render.page.filter_png import draw_grid, render_filters
from archprof.render.page.run_page import render_run_page

RELUS = ("features.1", "features.3", "features.5", "features.8", "features.10", "features.13", "features.15",
         "features.17", "features.19")  # fmt: skip
"""Of cifar_vgg."""


def probed(
    *, gradients: dict[str, float], std: dict[str, float] | None = None, dead: dict[str, int] | None = None,
    rank: dict[str, int] | None = None, nonfinite: dict[str, int] | None = None,
) -> Profile:  # fmt: skip
    """cifar_vgg with an overlay in which every weight has norm 2 and all that is not named is 1 or none."""
    profile = archprof.profile("cifar_vgg")
    rows = []
    for at, call in enumerate(profile.calls):
        path = profile.modules[call.module].path
        rows.append(
            Activation(
                at,
                1000,
                0.0,
                (std or {}).get(path, 1.0),
                -1.0,
                1.0,
                500,
                (nonfinite or {}).get(path, 0),
                10,
                (dead or {}).get(path, 0),
                None,
                (rank or {}).get(path, 64),
                64,
            )
        )
    found = tuple(
        Gradient(at, gradients.get(one.name, 1.0), 2.0, 0.1)
        for at, one in enumerate(profile.parameters)
        if one.role == "parameter"
    )
    overlay = Probe(Ran("cpu"), "digits", 128, 1, 0, "", "sgd", 2.3, "cross entropy", tuple(rows), found)
    made = dataclasses.replace(profile, overlays=(overlay,))
    made.check()
    return made


def said(profile: Profile) -> list[str]:
    found = sorted(observe_probe(profile, ProfileView(profile).row_name), key=lambda one: -one.weight)
    return [one.text for one in found]


def test_nothing_is_said_of_a_model_that_was_not_probed() -> None:
    assert said(archprof.profile("lenet5")) == []


def test_a_healthy_model() -> None:
    assert said(probed(gradients={})) == [
        "Gradients reach the first layer: by weight 0.5 against 0.5 in classifier.weight."
    ]


@pytest.mark.parametrize(
    ("first", "last", "words"),
    [
        (1e-3, 2.7, "2,700 times smaller than that of classifier.weight (by weight 0.0005 against 1.4): vanishing."),
        (2.7, 1e-3, "2,700 times larger than that of classifier.weight (by weight 1.4 against 0.0005): exploding."),
    ],
)
def test_gradients_that_vanish_or_explode(first: float, last: float, words: str) -> None:
    texts = said(probed(gradients={"features.0.weight": first, "classifier.weight": last}))
    assert texts == [f"The gradient of features.0.weight is {words}"]


def test_a_spread_that_shrinks_or_grows() -> None:
    small = probed(gradients={}, std={"features.1": 0.55, "features.19": 0.013})
    assert "shrinks 42-fold, from 0.55 behind features.1 to 0.013 behind features.19." in said(small)[0]
    large = probed(gradients={}, std={"features.1": 0.1, "features.19": 5.0})
    assert "grows 50-fold, from 0.1 behind features.1 to 5 behind features.19." in said(large)[0]


def test_samples_that_become_the_same() -> None:
    late = ["features.15", "features.16", "features.17", "features.18", "features.19", "features.20"]
    profile = probed(gradients={}, rank=dict.fromkeys([*late, "classifier", "avgpool", "flatten"], 1))
    assert said(profile)[0].startswith("From features.15 on 64 samples differ in 1 direction:")
    gap = probed(gradients={}, rank=dict.fromkeys(late, 1))  # behind them is a layer with all of them
    assert not any("direction" in text for text in said(gap))


def test_dead_units_are_counted_behind_relus() -> None:
    profile = probed(gradients={}, dead={"features.1": 2, "features.3": 8, "features.0": 10})
    assert said(profile)[0] == "11% of the units behind ReLUs are dead, 0 for every sample: 8 of 10 in features.3."
    assert not any("dead" in text for text in said(probed(gradients={}, dead={"features.1": 8})))


def test_what_is_not_finite_comes_first() -> None:
    profile = probed(gradients={}, nonfinite={"features.4": 7, "features.5": 9, "features": 9})
    assert said(profile)[0].startswith("7 of the 1,000 values behind features.4 are not finite")


def test_a_comparison_says_how_differently_gradients_reach_the_first_layer() -> None:
    weak, strong = probed(gradients={"features.0.weight": 1e-4}), probed(gradients={"features.0.weight": 1.0})
    compared = archprof.compare(weak, dataclasses.replace(strong, model="other"))
    text = "By its size, the first weight of other gets 10,000 times the gradient of that of cifar_vgg"
    assert f"{text} (0.5 against 5e-05)." in [finding.text for finding in compared.findings]


def test_models_side_by_side() -> None:
    profile = probed(gradients={"features.0.weight": 1e-3}, std={"features.1": 3.0}, dead={"features.1": 9})
    (row,) = tabulate_probes([profile]).records()
    assert (row["first_grad"], row["first_grad_weight"], row["last_grad_weight"]) == (1e-3, 5e-4, 0.5)
    assert (row["vanishing"], row["shrinking"], row["zeros"], row["dead"]) == (1e-3, 3.0, 0.5, 0.1)


@pytest.mark.parametrize(("times", "text"), [(2712, "2,700"), (23.4, "23"), (3.14, "3.1"), (1.26e6, "1.3e+06")])
def test_a_fold_has_two_digits(times: float, text: str) -> None:
    assert say_fold(times) == text


class Cells(HTMLParser):
    """The cells of the tables of a fragment, row by row."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.feed(text)

    def handle_starttag(self, name: str, attributes: object) -> None:
        if name == "tr":
            self.rows.append([])
        if name in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, name: str) -> None:
        if name == "table":
            self.rows.append([])

    def handle_data(self, text: str) -> None:
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += text


def test_the_picture_has_each_weight_at_its_height() -> None:
    """On a logarithmic axis, equal ratios are equal distances."""
    names = [f"features.{at}.weight" for at in (0, 2, 4, 7, 9, 12, 14, 16, 18)]
    falling = {name: 10.0 ** (at - 8) for at, name in enumerate(names)}
    view = ProfileView(probed(gradients=falling))
    chart, _ = build_probe_charts([view], ["cifar_vgg"])
    drawn = render_line_chart(chart, "x")
    (path,) = re.findall(r'd="M([\d. ]+)" class="c0 line"', drawn)
    heights = [float(number) for number in path.split()[1::2]][:9]
    assert np.diff(heights) == pytest.approx([np.diff(heights)[0]] * 8, abs=0.11)
    rows = [row for row in Cells(drawn).rows if row]
    assert [row[2] for row in rows[1:]] == [*names, "classifier.weight"]
    assert [float(row[3]) for row in rows[1:]] == [pytest.approx(value / 2) for value in (*falling.values(), 1.0)]


def test_a_page_draws_what_was_probed_of_several_models(tmp_path) -> None:
    models = [
        probed(gradients={}),
        dataclasses.replace(probed(gradients={}), model="other"),
        archprof.profile("lenet5"),
    ]
    archprof.report(models, tmp_path / "x.html", plotly="none")
    page = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert page.count("Gradient flow along the depth</figcaption>") == 1
    assert page.count("Spread of the activations along the depth</figcaption>") == 1
    archprof.report(archprof.profile("lenet5"), tmp_path / "y.html", plotly="none")
    assert "Gradient flow" not in (tmp_path / "y.html").read_text(encoding="utf-8")


def make_run(stopped: dict[str, str] | None = None) -> TrainingRun:
    filters = Filters("0.weight", (((( 0.0, 1.0), (0.5, 0.25)),),), ((((0.0, 1.0), (0.5, 0.75)),),))  # fmt: skip
    epochs = (Epoch(0, None, None, 2.3, 0.1, 0.0), Epoch(1, 1.5, 0.5, 1.2, 0.6, 3.0))
    flows = tuple(
        Flow(at, (FlowPoint("0.weight", 10.0**-at, 2.0), FlowPoint("1.weight", 1.0, 2.0)), ()) for at in (0, 1)
    )
    model = TrainedModel("a<b", 12, "1-a.safetensors", epochs, flows, filters)
    return TrainingRun("digits", "lecture", "adam", 8, 0, 1, Ran("cpu", threads=2), (model,), stopped, ("a note",))


def test_the_page_of_a_run_holds_its_numbers() -> None:
    page = render_run_page(make_run({"1-a.safetensors": "x"}))
    assert render_run_page(make_run({"1-a.safetensors": "x"})) == page
    assert "a&lt;b" in page
    assert "a<b" not in page
    assert "Stopped before all epochs were done" in page
    assert {"60%", "10%"} <= {cell for row in Cells(page).rows for cell in row}
    assert [chart.key for chart in build_run_charts(make_run())] == [
        "held_accuracy", "accuracy", "loss", "held_loss", "flow0",
    ]  # fmt: skip


def test_filters_are_drawn_weight_by_weight() -> None:
    """A 2x2 filter of one channel: its least weight is black, its greatest white; what changed is off grey."""
    pictures = re.findall(r"base64,([\w+/=]+)", render_filters(make_run().models[0].filters, "a", "x"))
    before, after, change = (np.array(Image.open(io.BytesIO(base64.b64decode(text)))) for text in pictures)
    side = (272 // 8 - 2) // 2
    corners = [(0, 0), (0, side), (side, 0), (side, side)]
    assert [before[place].tolist() for place in corners] == [[value] * 3 for value in (0, 255, 128, 64)]
    assert [after[place].tolist() for place in corners] == [[value] * 3 for value in (0, 255, 128, 191)]
    assert [change[place].tolist() for place in corners] == [[value] * 3 for value in (128, 128, 128, 255)]
    assert before[2 * side, 0].tolist() == [255] * 3


def test_three_channels_are_colours_and_there_are_eight_in_a_row() -> None:
    one = (((1.0,),), ((0.0,),), ((0.5,),))
    picture = np.array(Image.open(io.BytesIO(draw_grid([one] * 9, lambda each: [[(255, 0, 128)]]))))
    assert picture.shape == (2 * 34, 8 * 34, 3)
    assert picture[34, 0].tolist() == [255, 0, 128]
    assert picture[34, 34].tolist() == [255] * 3
