"""The formats for other programs, each read back by a reader that is not ours."""

import csv
import io
import json
import re
from html.parser import HTMLParser

import builders
import pytest

from archprof.render import latex, plain

BUILDS = [builders.profile, builders.with_unknown, builders.stopped, builders.trained]
TOTALS = ("params", "macs", "flops", "act_fp32", "act_fp16")


def rows_of_csv(table):
    return list(csv.DictReader(io.StringIO(plain.render_csv(table))))


@pytest.mark.parametrize("build", BUILDS)
def test_csv_sums_to_the_totals(build):
    table = build().table()
    rows, total = rows_of_csv(table), table.record(table.total)
    for key in TOTALS:
        assert sum(int(row[key]) for row in rows) == total[key]


def test_csv_cells_are_raw():
    rows = rows_of_csv(builders.with_unknown().table(columns=["kind", "call", "input", "output", "macs"]))
    assert rows[2] == {
        "layer": "block.conv2", "kind": "Conv2d", "call": "0", "input": "1x4x8x8", "output": "1x4x8x8",
        "macs": "9216", "complete": "false",
    }  # fmt: skip
    assert rows[-2]["complete"] == "true"
    assert (rows[3]["layer"], rows[3]["call"]) == ("block.relu", "1")


def test_csv_leaves_missing_values_empty():
    rows = rows_of_csv(builders.profile().table())
    assert (rows[-1]["layer"], rows[-1]["call"], rows[-1]["output"]) == ("aux", "", "")


def test_json_is_raw_and_complete():
    document = json.loads(plain.render_json(builders.with_unknown().table()))
    assert document["schema"] == 1
    assert document["complete"] is False
    assert document["total"]["macs"] == 18688
    assert sum(row["macs"] for row in document["rows"]) == 18688
    assert document["rows"][0] == {
        "layer": "block.conv1", "kind": "Conv2d", "call": 0, "output": [[1, 4, 8, 8]], "params": 112, "macs": 6912,
        "flops": 14080, "act_fp32": 1024, "act_fp16": 512, "share_macs": 6912 / 18688, "complete": True,
    }  # fmt: skip
    assert document["rows"][-1]["output"] is None
    assert [column["key"] for column in document["columns"]] == list(document["rows"][0])[:-1]
    assert set(document["columns"][0]) == {"key", "header", "unit", "meaning"}
    assert document["notes"][-1] == "Built by hand."


def cells_of_markdown(page):
    """The cells of the pipe table, split at the pipes that GitHub would split at."""
    lines = [line for line in page.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_markdown_is_a_regular_table_aligned_in_its_source():
    page = plain.render_markdown(builders.with_unknown().table())
    lines, cells = [line for line in page.splitlines() if line.startswith("|")], cells_of_markdown(page)
    assert len({len(row) for row in cells}) == 1
    assert len({len(line) for line in lines}) == 1
    assert cells[0][:4] == ["Layer", "Kind", "Output", "MACs [k]"]
    assert "MACs [k]" in cells[0]
    assert cells[1][0].strip("-") == ""
    assert cells[1][-1].endswith("-:")
    assert cells[-1][0] == "**Total**"
    assert cells[-1][3] == "**≥ 18.69**"


def test_markdown_columns_add_up():
    table = builders.profile().table()
    cells = cells_of_markdown(plain.render_markdown(table))
    macs = [float(row[4]) for row, facts in zip(cells[2:-1], table.rows, strict=True) if not facts.subtotal]
    assert sum(macs) == pytest.approx(float(cells[-1][4].strip("*")), abs=0.005 * (len(macs) + 1))


def test_markdown_escapes_names():
    page = plain.render_markdown(builders.hostile().table(columns=["kind"]))
    assert {len(row) for row in cells_of_markdown(page)} == {2}
    assert "<" not in page
    assert "\x1b" not in page
    assert r"a\|b" in page
    assert r"\[bold\]x" in page
    assert r"x\_{1}\$&amp;%#\~^\\" in page
    assert r"line\\nbreak" in page


class Reader(HTMLParser):
    """What a browser would see: the tags and the text."""

    def __init__(self):
        super().__init__()
        self.tags, self.text = [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data + "\n"


def test_the_notebook_table_holds_names_as_text():
    reader = Reader()
    reader.feed(builders.hostile().table()._repr_html_())
    assert set(reader.tags) <= {"table", "caption", "thead", "tbody", "tfoot", "tr", "th", "td", "small", "br"}
    assert "</script><img onerror=alert(1)>" in reader.text
    assert "\x1b" not in reader.text


def test_the_table_methods_are_the_renderers():
    table = builders.profile().table()
    assert table.to_csv() == plain.render_csv(table)
    assert table.to_markdown() == plain.render_markdown(table)
    assert table.to_latex() == latex.render_latex(table)
    assert table.to_json() == plain.render_json(table)
    assert "├─ conv1" in table.to_text(80)
