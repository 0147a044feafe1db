"""The terminal table: as wide as allowed, its printed numbers add up, and names are only names."""

import re

import builders
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from archprof.analysis.table import Column, Legend, Row, Table
from archprof.render.text import render_text

ANSI = re.compile(r"\x1b\[[0-9;]*m")


def page(table, width=None, **options):
    return render_text(table, width=width, color=False, **options)


def named(*names, title="t", notes=()):
    columns = (Column("layer", "Layer", "path", "", 0), Column("macs", "MACs", "count", "", 1))
    return Table(title, columns, tuple(Row((name, 10), name, depth=1) for name in names), None, notes)


@pytest.mark.parametrize("width", [12, 20, 40, 60, 79, 80, 100, 120, 160])
@pytest.mark.parametrize(
    "build", [builders.profile, builders.with_unknown, builders.stopped, builders.trained, builders.hostile]
)
@pytest.mark.parametrize("options", [{}, {"depth": 1}, {"top": 2}, {"by": "stage"}, {"by": "kind"}])
def test_no_line_is_wider_than_the_page(build, options, width):
    for color in (False, True):
        lines = render_text(build().table(**options), width=width, color=color).splitlines()
        assert max(cell_len(ANSI.sub("", line)) for line in lines) <= width


def printed(text):
    """The cells of a text table by header, cut at the right edges of the headers of numeric columns."""
    lines = text.splitlines()
    rule = next(i for i, line in enumerate(lines) if line.startswith("──"))
    head = lines[rule - 2]
    ends = [match.end() for match in re.finditer(r"\S+( \S+)*", head)]
    body, total = [], []
    for line in lines[rule + 1 :]:
        if line.startswith("──"):
            total = lines[lines.index(line, rule + 1) + 1]
            break
        body.append(line)
    return head, ends, body, total


def number(line, end):
    """The number that ends at this column, without its marks, or 0."""
    match = re.search(r"(\S+)$", line[:end])
    return float(match[1].strip("<≥").replace(",", "")) if match else 0.0


@pytest.mark.parametrize("width", [80, 160])
def test_the_printed_column_adds_up_to_the_printed_total(width):
    """Read from the text alone: leaf rows are those with no deeper row under them."""
    answer = builders.profile().table(columns=["params", "macs", "flops", "act_fp32", "act_fp16"])
    head, ends, body, total = printed(page(answer, width))
    leaf = [row for row, facts in zip(body, answer.rows, strict=True) if not facts.subtotal]
    assert len(ends) == 6
    for end in ends[1:]:
        decimals = len(total[:end].rpartition(".")[2].strip()) if "." in total[:end].split()[-1] else 0
        off = abs(sum(number(row, end) for row in leaf) - number(total, end))
        assert off <= 0.5 * (len(leaf) + 1) * 10**-decimals, head[:end]
    assert number(total, ends[2]) > 0


def test_units_stand_in_the_header_once_and_not_in_the_cells():
    text = page(builders.profile().table(columns=["macs", "act_fp32"]), 100)
    assert "[k]" in text
    assert "[B]" in text
    _, _, body, total = printed(text)
    assert not [line for line in [*body, total] if re.search(r"\d (k|M|B|KiB)\b", line)]


def test_columns_read_against_each_other_have_one_prefix():
    table = builders.profile().table()
    scales = dict(zip((c.key for c in table.columns), table.scales(), strict=True))
    assert scales["macs"].symbol == scales["flops"].symbol == "k"
    assert scales["act_fp32"] == scales["act_fp16"]


def test_a_narrow_page_says_what_it_leaves_out_and_cuts_no_number():
    text = page(builders.profile().table(), 40)
    assert "Too narrow for: Kind, Act fp32, Output, FLOPs, Act fp16." in " ".join(text.split())
    assert "18.69" in text
    assert "Too narrow" not in page(builders.profile().table(), 160)
    assert "Too narrow" not in page(builders.profile().table(), None)


def test_bars_are_shares_of_the_whole_and_stay_longer_than_what_is_least_asked():
    wide = page(builders.profile().table(), None)
    shares = [re.search(r"(\d+\.\d)  ([█▏▎▍▌▋▊▉]+)", line) for line in wide.splitlines()]
    drawn = [(float(found[1]), found[2]) for found in shares if found]
    # of 64 eighths of a cell: block 55, conv1 24, conv2 32, fc 9
    assert drawn == [(86.3, "██████▉"), (37.0, "███"), (49.3, "████"), (13.7, "█▏")]
    narrow = page(builders.profile().table(), 60)
    assert "█" in narrow
    assert "Too narrow for: Act fp32, Output, FLOPs, Act fp16." in " ".join(narrow.split())


def test_words_go_on_in_the_next_line_and_lose_nothing():
    columns = (
        Column("part", "Part", "path", "", 0),
        Column("what", "Change", "words", "", 1),
        Column("macs", "MACs", "count", "", 2),
    )
    said = ("outputs 512 to 256", "kernel_size 3 to 5, stride 1 to 2, groups 1 to 4", None)
    rows = tuple(Row((f"layer{i}", words, 10 * i)) for i, words in enumerate(said))
    lines = page(Table("t", columns, rows), 40).splitlines()[4:]
    assert lines == [
        "layer0  outputs 512 to 256             0",
        "layer1  kernel_size 3 to 5, stride    10",
        "          1 to 2, groups 1 to 4",
        "layer2  –                             20",
    ]


def test_a_legend_explains_the_columns_that_are_shown():
    columns = tuple(Column(key, key.title(), "count", "", rank) for rank, key in enumerate(("x", "depth", "field")))
    legend = Legend.of({"x": "X is a ratio.", "depth": "Depth: in layers.", "field": "Field: in pixels."})
    table = Table("t", columns, (Row((1, 2, 3)),), notes=(legend,))
    assert "X is a ratio. Depth: in layers. Too narrow for: Field." in " ".join(page(table, 12).split())
    assert "X is a ratio. Depth: in layers. Field: in pixels." in page(table, 60)
    assert "X is a ratio. Depth: in layers. Field: in pixels." in table.notes


def test_a_long_path_loses_its_middle():
    text = page(named("encoder.layers.encoder_layer_11.self_attention.out_proj", "b"), 32)
    assert re.search(r"enco\S*…\S*out_proj", text)


def test_guides_follow_the_depths():
    depths = [0, 1, 2, 2, 1, 0, 1]
    rows = tuple(Row((f"m{i}", i), f"m{i}", f"m{i}", depth) for i, depth in enumerate(depths))
    columns = (Column("layer", "Layer", "path", "", 0), Column("n", "N", "count", "", 1))
    body = page(Table("t", columns, rows)).splitlines()[4:]
    assert [line.split("  ")[0] if line[0] == "m" else line[: line.index("m") + 2] for line in body] == [
        "m0", "├─ m1", "│  ├─ m2", "│  └─ m3", "└─ m4", "m5", "└─ m6",
    ]  # fmt: skip


def test_without_colour_there_are_no_codes_and_with_it_the_words_are_the_same():
    table = builders.profile().table()
    plain, coloured = page(table, 100), render_text(table, width=100, color=True)
    assert "\x1b" not in plain
    assert "\x1b[" in coloured
    assert [line.rstrip() for line in ANSI.sub("", coloured).splitlines()] == plain.splitlines()


def test_ascii_is_ascii():
    for build in (builders.with_unknown, builders.hostile):
        assert page(build().table(), 100, unicode=False).isascii()
    assert page(named("café"), unicode=False).count("caf\\xe9") == 1
    assert ">= 18.69" in page(builders.with_unknown().table(), unicode=False)


def test_hostile_names_are_printed_and_do_nothing():
    text = page(builders.hostile().table(), 200)
    for name in ("</script><img onerror=alert(1)>", "[bold]x", "a|b", "x_{1}$&%#~^\\", "line\\nbreak", "\\x1b[31mred"):
        assert name in text
    assert "\x1b" not in text


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(max_size=40), min_size=1, max_size=6), st.integers(10, 60), st.booleans(), st.text(max_size=30))
def test_any_name_keeps_the_page(names, width, unicode, note):
    """Wide characters, combining marks, control codes and surrogates included."""
    lines = page(named(*names, title=note, notes=(note,)), width, unicode=unicode).split("\n")
    assert all(cell_len(line) <= width for line in lines)
    assert all(line.isprintable() for line in lines)


def test_an_empty_table_has_its_header():
    assert "MACs" in page(named())


def test_str_fits_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    assert max(map(len, str(builders.profile().table()).splitlines())) <= 50
