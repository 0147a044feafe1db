"""One hand-built profile through every format, against files that a person has looked at."""

from pathlib import Path

import builders
import pytest

from archprof.render import latex, plain, text

GOLDEN = Path(__file__).with_name("golden")

PAGES = {
    "layers-80.txt": lambda: text.render_text(builders.profile().table(), width=80, color=False),
    "layers-160.txt": lambda: text.render_text(builders.profile().table(), width=160, color=False),
    "layers-40-ascii.txt": lambda: text.render_text(builders.profile().table(), width=40, color=False, unicode=False),
    "layers-colour.txt": lambda: text.render_text(builders.profile().table(), width=120, color=True),
    "unknown-100.txt": lambda: text.render_text(builders.with_unknown().table(), width=100, color=False),
    "unknown-ascii.txt": lambda: text.render_text(
        builders.with_unknown().table(), width=None, color=False, unicode=False
    ),
    "stopped-80.txt": lambda: text.render_text(builders.stopped().table(), width=80, color=False),
    "trained-120.txt": lambda: text.render_text(builders.trained().table(), width=120, color=False),
    "top-80.txt": lambda: text.render_text(builders.profile().table(top=3), width=80, color=False),
    "stage-80.txt": lambda: text.render_text(builders.profile().table(by="stage"), width=80, color=False),
    "kind-80.txt": lambda: text.render_text(builders.profile().table(by="kind"), width=80, color=False),
    "op-80.txt": lambda: text.render_text(builders.profile().table(by="op"), width=80, color=False),
    "hostile-160.txt": lambda: text.render_text(builders.hostile().table(), width=160, color=False),
    "measured-80.txt": lambda: text.render_text(builders.measured().table(), width=80, color=False),
    "measured-gpu-120.txt": lambda: text.render_text(builders.on_gpu().table(), width=120, color=False),
    "measured-kind-100.txt": lambda: text.render_text(builders.measured().table(by="kind"), width=100, color=False),
    "measured.csv": lambda: plain.render_csv(builders.measured().table()),
    "measured.md": lambda: plain.render_markdown(builders.measured().table()),
    "measured.tex": lambda: latex.render_latex(builders.measured().table()),
    "layers.csv": lambda: plain.render_csv(builders.with_unknown().table()),
    "layers.md": lambda: plain.render_markdown(builders.with_unknown().table()),
    "layers.json": lambda: plain.render_json(builders.with_unknown().table()),
    "layers.tex": lambda: latex.render_latex(builders.with_unknown().table()),
    "layers.html": lambda: plain.render_notebook_cell(builders.with_unknown().table()),
}


@pytest.mark.parametrize("name", PAGES)
def test_golden(name, request):
    page, path = PAGES[name](), GOLDEN / name
    if request.config.getoption("--regenerate", default=False):
        path.write_text(page, encoding="utf-8")
    assert page == path.read_text(encoding="utf-8")


def test_no_golden_is_left_behind():
    assert {path.name for path in GOLDEN.iterdir()} == set(PAGES)
