"""LaTeX that compiles: checked by the rules that a table can break, since no TeX is needed to test archprof."""

import re

import builders
import pytest
from torch import nn

import archprof
from archprof.render import latex

PLAIN_COMMANDS = {
    "begin", "end", "caption", "label", "centering", "toprule", "midrule", "bottomrule", "item", "geq", "leq", "times",
    "pm", "mu", "textasciitilde", "textasciicircum", "textbackslash", "textless", "textgreater", "textbar",
}  # fmt: skip
"""What LaTeX has without a package, and the three rules of booktabs."""


def check(page):
    """The tables of a page by their labels: the cells of their rows. Fails where LaTeX would not take the page."""
    assert page.startswith("% Needs \\usepackage{booktabs}")
    assert page.isascii()
    lines = [line for line in page.splitlines() if not line.startswith("%")]
    text = "\n".join(lines)
    assert not re.search(r"(?<!\\)[#%_~^]|(?<!\\)&(?!.* \\\\$)", text, re.MULTILINE), "a sign that is not escaped"
    assert set(re.findall(r"\\([A-Za-z]+)", text)) <= PLAIN_COMMANDS
    bare = re.sub(r"\\[&%$#_{}]", "", text)
    assert bare.count("$") % 2 == 0
    check_nesting(bare)
    return dict(map(read_table, re.findall(r"\\begin{table}.*?\\end{table}", text, re.DOTALL)))


def check_nesting(text):
    """Braces and environments, each closed where it was opened."""
    open_ones = []
    for begin, end, brace in re.findall(r"\\begin{(\w+)}|\\end{(\w+)}|([{}])", text):
        if begin or brace == "{":
            open_ones.append(begin or brace)
        else:
            assert open_ones.pop() == (end or "{")
    assert not open_ones


def read_table(text):
    """The label and the rows; each row has as many cells as the table has columns."""
    assert [text.count(rule) for rule in ("\\caption{", "\\label{", "\\toprule", "\\bottomrule")] == [1] * 4
    assert text.index("\\caption{") < text.index("\\label{")
    columns = re.search(r"\\begin{tabular}{([lr]+)}", text)[1]
    rows = [line.removesuffix(" \\\\") for line in text.splitlines() if line.endswith(" \\\\")]
    cells = [re.split(r"(?<!\\)&", row) for row in rows]
    assert {len(row) for row in cells} == {len(columns)}
    return re.search(r"\\label{(tab:[a-z0-9-]+)}", text)[1], [[cell.strip() for cell in row] for row in cells]


PROFILES = [
    builders.profile, builders.with_unknown, builders.stopped, builders.trained, builders.hostile, builders.measured,
    builders.on_gpu,
]  # fmt: skip


@pytest.mark.parametrize("make", PROFILES, ids=lambda make: make.__name__)
@pytest.mark.parametrize("by", ["layer", "stage", "kind", "op"])
def test_tables_compile(make, by):
    profile = make()
    ((_, rows),) = check(latex.render_latex(profile.table(by=by))).items()
    assert len(rows) == len(profile.table(by=by).rows) + 2  # the head and the total


@pytest.mark.parametrize("make", PROFILES, ids=lambda make: make.__name__)
def test_comparisons_compile_and_hold_the_summary(make):
    compared = archprof.compare(builders.profile(), make())
    page = compared.to_latex()
    summary, stages, layers = check(page).values()
    assert [row[0][0] for row in summary[1:]] == ["A", "B"]
    assert len(stages) == len(compared.stages.rows) + 2
    assert len(layers) == len(compared.layers.rows) + 2
    assert page.count(r"\item ") == len(compared.findings)


def test_a_label_is_of_the_title():
    assert r"\label{tab:net-by-layer}" in latex.render_latex(builders.profile().table())
    assert latex.make_label("Layers by path: A x_1, B {y}") == "tab:layers-by-path-a-x-1-b-y"
    assert latex.make_label("\u4e2d") == "tab:archprof"


def test_names_in_another_script_are_spelled_out():
    net = nn.Sequential()
    net.add_module("\u4e2d", nn.ReLU())
    page = archprof.profile(net, (1, 4)).table(columns=["kind"]).to_latex()
    check(page)
    assert r"\textbackslash{}u4e2d & ReLU" in page


def test_latex_escapes_names():
    page = latex.render_latex(builders.hostile().table(columns=["kind"]))
    assert r"x\_\{1\}\$\&\%\#\textasciitilde{}\textasciicircum{}\textbackslash{}" in page
    assert r"\textless{}/script\textgreater{}" in page
    assert r"a\textbar{}b" in page
    assert "\x1b" not in page
    body = [line for line in page.splitlines() if line.endswith(r" \\")]
    assert {len(re.findall(r"(?<!\\)&", line)) for line in body} == {1}
    assert not [line for line in body if re.search(r"(?<!\\)[#%_]", line)]


def test_latex_is_balanced_and_marks_lower_bounds():
    page = latex.render_latex(builders.with_unknown().table())
    for name in ("table", "tabular"):
        assert page.count(rf"\begin{{{name}}}") == page.count(rf"\end{{{name}}}") == 1
    assert [page.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 2, 1]
    assert page.isascii()
    assert r"Total &  &  & $\geq$ 18.69 & 100.0 & 2,860 & $\geq$ 38.67" in page
    assert "% 1 MAC = 2 FLOPs" in page
    spec = re.search(r"\\begin{tabular}{([lr]+)}", page)[1]
    assert spec == "lllrrrrrr"
