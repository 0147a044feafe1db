"""Budgets: what is allowed is allowed to the last unit, and what is printed is what was worked out exactly."""

import dataclasses
import re
from fractions import Fraction

import builders
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archprof.analysis.phrases import tenths_of_percent
from archprof.budgets import limits as known
from archprof.budgets.limits import Limit, limits_from_baseline, parse_limit, parse_tolerance
from archprof.budgets.verdict_words import describe_check
from archprof.budgets.verdicts import check_profile
from archprof.errors import UnknownName, UsageError
from archprof.facts.records import Layer, Storage, TensorSpec

IMAGE = (TensorSpec((1, 3, 8, 8), "float32"),)


def costing(params=0, macs=0, flops=0, elements=0, status="counted", **changes):
    """A model of one layer that costs exactly this; its activation is 4 bytes per element."""
    layers = (Layer("", "Net", 0, 0, IMAGE), Layer("fc", "Linear", 1, 0, IMAGE, (), params, param_bytes=4 * params))
    ops = [builders.make_op("aten.mm", 1, "forward", (), (), macs, flops, 0, 0, "counted")]
    if status == "unknown":
        ops.append(builders.make_op("aten.mystery", 1, "forward", (), (), None, None, 0, 0, "unknown"))
    storages = (
        Storage(4 * params, "float32", "parameter", None, None),
        Storage(4 * elements, "float32", "activation", 0, None),
    )
    profile = builders.make_profile("net", ("3x8x8",), 1, "forward", "float32", layers, tuple(ops), (), storages)
    if "layers" in changes:
        changes |= builders.make_tree(changes.pop("layers"))
    profile = dataclasses.replace(profile, **changes)
    profile.check()
    return profile


counts = st.integers(0, 10**18)
METRICS = {
    key: metric for key, metric in known.LIMITABLE_METRICS.items() if not metric.measured and key != known.MEMORY_KEY
}
"""Those that are counted; what is predicted has tests of its own."""

costs = st.fixed_dictionaries(dict.fromkeys(("params", "macs", "flops", "elements"), counts))


def values(cost):
    """What each metric of `costing(**cost)` is."""
    activation = 4 * cost["elements"]
    return {
        **{key: cost[key] for key in ("params", "macs", "flops")},
        "activation": activation,
        "peak": 4 * cost["params"] + activation,
    }


@given(costs, st.dictionaries(st.sampled_from(sorted(METRICS)), st.integers(0, 8 * 10**18), min_size=1))
def test_ok_if_and_only_if_every_value_is_within_its_limit(cost, mosts):
    verdict = check_profile(costing(**cost), [Limit(metric, most, "test") for metric, most in mosts.items()])
    broken = {metric for metric, most in mosts.items() if values(cost)[metric] > most}
    assert {each.limit.metric for each in verdict.broken} == broken
    assert verdict.ok == (not broken)
    assert len(verdict.table.rows) == len(verdict.checks) == len(mosts)


@given(costs, st.sampled_from(sorted(METRICS)), st.integers(-2, 2))
def test_the_limit_itself_is_allowed_and_one_more_is_not(cost, metric, beside):
    value = values(cost)[metric]
    verdict = check_profile(costing(**cost), [Limit(metric, value - beside, "test")])
    assert verdict.ok == (beside <= 0)
    assert verdict.checks[0].over == (beside if beside > 0 else None)


@given(costs, costs, st.integers(0, 30_000))
def test_a_baseline_allows_exactly_its_tolerance(cost, before, hundredths):
    verdict = check_profile(costing(**cost), [], costing(**before), f"{hundredths // 100}.{hundredths % 100:02}%")
    allowed = {metric: value * (1 + Fraction(hundredths, 10_000)) for metric, value in values(before).items()}
    broken = {metric for metric, value in values(cost).items() if value > allowed[metric]}
    assert {each.limit.metric for each in verdict.broken} == broken


@pytest.mark.parametrize("written", ["1%", "0.01", 0.01, Fraction(1, 100), " 1.0 % "])
def test_one_percent_of_100_is_1(written):
    assert parse_tolerance(written) == Fraction(1, 100)
    assert check_profile(costing(params=101), [], costing(params=100), written).ok
    assert not check_profile(costing(params=102), [], costing(params=100), written).ok


def test_no_float_stands_between_a_large_baseline_and_its_limit():
    """1% of 10**17 + 100 is not a float: the limit is 101 * (10**15 + 1), exactly."""
    most = 101 * (10**15 + 1)
    assert limits_from_baseline(costing(params=100 * (10**15 + 1)), "1%")[0].most == most
    assert check_profile(costing(params=most), [], costing(params=10**17 + 100), 0.01).ok
    assert not check_profile(costing(params=most + 1), [], costing(params=10**17 + 100), 0.01).ok


@given(st.integers(0, 10**6), st.integers(0, 6))
def test_tolerances_in_percent_and_as_a_share_agree(number, digits):
    text = f"{number:0{digits + 1}d}"
    text = f"{text[:-digits]}.{text[-digits:]}" if digits else text
    exact = Fraction(number, 10**digits) / 100
    assert parse_tolerance(f"{text}%") == exact
    if exact < 1:
        assert parse_tolerance(exact) == exact


@pytest.mark.parametrize(
    "written", ["", "-1%", "1", 1, 1.5, "x%", "%", "1%%", "nan", "inf", float("nan"), -0.1, "1e-2"]
)
def test_what_is_no_tolerance(written):
    with pytest.raises(UsageError, match=r"is no tolerance.\n.*1% or 0.01"):
        parse_tolerance(written)


@given(st.fractions(-1, 10**4))
def test_a_printed_percentage_is_within_half_its_last_digit(share):
    text = tenths_of_percent(share)
    if text in ("<0.1%", ">-0.1%"):
        assert 0 < abs(share) <= Fraction(1, 2000)
        assert (share < 0) == (text[0] == ">")
    else:
        printed = Fraction(text.replace(",", "").removesuffix("%")) / 100
        assert abs(printed - share) <= Fraction(1, 2000)
        assert share == 0 or printed != 0


@pytest.mark.parametrize(
    ("share", "plain", "signed"),
    [
        ("0", "0.0%", "0.0%"),
        ("0.0223", "2.2%", "+2.2%"),
        ("-0.032", "-3.2%", "-3.2%"),
        ("12.3456", "1,234.6%", "+1,234.6%"),
        ("0.0004", "<0.1%", "<+0.1%"),
        ("-0.0004", ">-0.1%", ">-0.1%"),
    ],
)
def test_percentages(share, plain, signed):
    assert (tenths_of_percent(Fraction(share)), tenths_of_percent(Fraction(share), signed=True)) == (plain, signed)


@given(st.integers(0, 10**15), st.integers(1, 10**15))
def test_the_overrun_in_the_table_is_the_overrun(value, most):
    """Its percentage is read back from the table and compared with the exact one."""
    verdict = check_profile(costing(params=value), [Limit("params", most, "test")])
    cell = verdict.table.records()[0]["over"]
    if value <= most:
        assert cell is None
    else:
        printed = re.fullmatch(r"(.+) \((<?)([\d,]+\.\d)%\)", cell)
        exact = Fraction(value - most, most) * 100
        off = abs(Fraction(printed[3].replace(",", "")) - exact)
        assert exact < Fraction(1, 10) if printed[2] else off <= Fraction(1, 20)


def test_two_numbers_that_differ_never_print_alike():
    row = check_profile(costing(params=25_000_001), [parse_limit("params", "25M", "--max-params 25M")]).table.records()[
        0
    ]
    assert (row["value"], row["limit"], row["over"]) == ("25,000,001", "25,000,000", "1 (<0.1%)")
    row = check_profile(costing(elements=2**24 + 1), [parse_limit("activation", "64MiB", "")]).table.records()[0]
    assert (row["value"], row["limit"], row["over"]) == ("67,108,868 B", "67,108,864 B", "4 B (<0.1%)")


def test_the_table_of_the_hand_built_model():
    limits = [parse_limit("params", "2k", "--max-params 2k"), parse_limit("macs", "20k", "--max-macs 20k")]
    answer = check_profile(builders.profile(), limits).table
    assert [list(record.values())[:-1] for record in answer.records()] == [
        ["parameters", "2,860", "2,000", "860 (43.0%)", "--max-params 2k", "broken"],
        ["MACs", "18.69 k", "20.00 k", None, "--max-macs 20k", "ok"],
    ]
    assert answer.notes[0] == (
        "parameters: 2,860, limit 2,000; over by 860 (43.0%). "
        "Most of it: fc (2,570, 89.9%), block.conv2 (148, 5.2%), block.conv1 (112, 3.9%)."
    )


def test_the_layers_that_contribute_most_to_each_metric():
    verdict = check_profile(builders.profile(), [Limit(metric, 0, "test") for metric in METRICS])
    largest = {each.limit.metric: dict(each.largest_layers) for each in verdict.checks}
    assert largest["macs"] == {"block.conv2": 9216, "block.conv1": 6912, "fc": 2560}
    assert largest["flops"] == {"block.conv2": 18688, "block.conv1": 14080, "fc": 5130}
    assert largest["activation"] == {"block.conv1": 1024, "block.conv2": 1024, "block": 1024}
    assert largest["peak"] == {"fc": 10348, "block.conv2": 1616, "block.conv1": 1472}


def test_calls_of_one_module_count_together():
    """Each of the two calls of block.relu is charged with an addition of 9,000 FLOPs more."""
    more = [builders.make_op("aten.add", row, "forward", (), (), 0, 9000, 0, 0, "counted") for row in (3, 5)]
    profile = builders.profile(ops=(*builders.profile().ops, *more))
    largest = check_profile(profile, [Limit("flops", 0, "")]).checks[0].largest_layers
    assert dict(largest) == {"block.conv2": 18688, "block.relu": 2 * (256 + 9000), "block.conv1": 14080}


def test_a_limit_of_0_has_no_share():
    row = check_profile(costing(macs=5), [Limit("macs", 0, "")]).table.records()[0]
    assert row["over"] == "5"


@pytest.mark.parametrize("metric", ["macs", "flops"])
def test_a_lower_bound_under_its_limit_is_not_ok(metric):
    profile = costing(macs=10, flops=20, status="unknown")
    verdict = check_profile(profile, [Limit(metric, 100, "")])
    assert not verdict.ok
    assert [each.status for each in verdict.broken] == ["unknown: lower bound"]
    assert verdict.table.records()[0]["value"].startswith("at least ")
    assert not verdict.table.complete
    assert any("not known whether the limit is kept" in note for note in verdict.table.notes)
    assert any("aten.mystery" in note for note in verdict.table.notes)
    assert check_profile(profile, [Limit(metric, 100, "")], allow_incomplete=True).ok


def test_a_lower_bound_over_its_limit_is_broken_whatever_is_allowed():
    verdict = check_profile(costing(macs=101, status="unknown"), [Limit("macs", 100, "")], allow_incomplete=True)
    assert [each.status for each in verdict.broken] == ["broken"]


def test_an_unknown_op_leaves_parameters_and_memory_exact():
    limits = [Limit(metric, 100, "") for metric in ("params", "activation", "peak")]
    assert check_profile(costing(params=1, elements=1, status="unknown"), limits).ok


def test_a_forward_that_stopped_bounds_all_that_runs():
    limits = [Limit(metric, 10**9, "") for metric in METRICS if metric != "params"]
    assert {each.status for each in check_profile(builders.stopped(), limits).checks} == {"unknown: lower bound"}


@pytest.mark.parametrize(("most", "status"), [(260, "ok"), (259, "broken")])
def test_a_forward_that_stopped_leaves_parameters_exact(most, status):
    (check,) = check_profile(builders.stopped(), [Limit("params", most, "")]).checks
    assert (check.status, check.is_lower_bound) == (status, False)


def test_a_parameter_without_a_shape_is_a_lower_bound():
    unsized = dataclasses.replace(builders.stopped(), unsized=("fc.weight", "fc.bias"))
    (check,) = check_profile(unsized, [Limit("params", 10**9, "")]).checks
    assert check.status == "unknown: lower bound"


def test_what_is_below_the_baseline_is_shown():
    verdict = check_profile(costing(params=968, macs=100), [], costing(params=1000, macs=100))
    change = {record["metric"]: record["change"] for record in verdict.table.records()}
    assert (change["parameters"], change["MACs"], change["FLOPs"]) == ("-3.2%", "0.0%", None)
    assert verdict.ok
    assert "Below the baseline: parameters -3.2%, peak memory -3.2%: update the baseline?" in verdict.table.notes


def test_what_is_above_the_baseline_says_by_how_much_of_both():
    record = check_profile(costing(params=1040), [], costing(params=1000), "1%").table.records()[0]
    assert list(record.values())[:-1] == [
        "parameters", "1,040", "1,010", "30 (3.0%)", "+4.0%", "baseline net + 1%", "broken"
    ]  # fmt: skip


def test_the_model_is_its_own_baseline():
    assert check_profile(builders.profile(), [], builders.profile()).ok
    assert check_profile(builders.trained(), [], builders.trained()).ok


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dtype": "float16"}, r"dtype float32 against float16\."),
        ({"mode": "train"}, r"mode forward against train\."),
        (
            {"layers": (Layer("", "Net", 0, 0, (TensorSpec((2, 3, 8, 8), "float32"),)), builders.LAYERS[-2])},
            r"input float32\[1,3,8,8\] against float32\[2,3,8,8\]\.",
        ),
    ],
)
def test_a_baseline_of_another_pass_is_refused(change, said):
    with pytest.raises(UsageError, match=f"net and its baseline were traced otherwise: {said}"):
        check_profile(costing(params=1), [], costing(params=1, **change))


def test_how_an_input_was_written_does_not_matter():
    assert check_profile(costing(), [], costing(inputs=("[1,3,8,8]",))).ok


@pytest.mark.parametrize(
    ("metric", "text", "most"),
    [("params", "25M", 25_000_000), ("macs", "4.1G", 4_100_000_000), ("flops", "8,000", 8000),
     ("activation", "60MiB", 62_914_560), ("peak", "200MB", 200_000_000)],
)  # fmt: skip
def test_limits_as_people_write_them(metric, text, most):
    assert parse_limit(metric, text, "here") == Limit(metric, most, "here")


def test_limits_that_mean_nothing():
    with pytest.raises(UsageError, match=r"--max-params 25q: '25q' cannot be read.*\nA count is"):
        parse_limit("params", "25q", "--max-params 25q")
    with pytest.raises(UsageError, match=r"cannot be read.*\nA size is"):
        parse_limit("peak", "200", "--max-peak 200")
    with pytest.raises(UnknownName, match="Near it: params"):
        parse_limit("parms", "1", "")
    with pytest.raises(UsageError, match="nothing to check net against"):
        check_profile(costing(), [])


def test_a_limit_of_latency_says_that_it_needs_a_measurement():
    with pytest.raises(UsageError, match=r"net was not measured.*\n.*\n.*--measure cpu"):
        check_profile(builders.profile(), [parse_limit("latency", "5ms", "--max-latency 5ms")])
    with pytest.raises(UsageError, match="A time is a number"):
        parse_limit("latency", "5", "--max-latency 5")


def test_the_median_of_the_whole_is_held_against_a_limit_of_latency():
    """Medians of the rounds of the whole: 40, 39, 41 ms."""
    kept, close, broken = (
        check_profile(builders.measured(), [parse_limit("latency", most, "")]).checks[0]
        for most in ("42ms", "40.5ms", "20ms")
    )
    assert (kept.value, kept.status, kept.interval) == (0.04, "ok", "")
    assert (close.status, describe_check(close)) == (
        "ok", "latency: 40.00 ms, limit 40.50 ms inside its interval [39.0, 41.0] ms: measure again to be sure."
    )  # fmt: skip
    assert broken.status == "broken"
    assert broken.over == pytest.approx(0.02)
    assert broken.largest_layers[0] == ("block.conv2", 0.020)
    assert "over by 20.00 ms (100.0%). Most of it: block.conv2 (20.00 ms, 50.0%)" in describe_check(broken)


def test_a_baseline_sets_no_limit_of_latency():
    assert "latency" not in {one.metric for one in limits_from_baseline(builders.measured())}


def test_a_sentence_of_what_is_kept():
    assert describe_check(check_profile(costing(macs=5), [Limit("macs", 10, "")]).checks[0]) == "MACs: 5, limit 10."
