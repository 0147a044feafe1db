r"""Tables for papers, in LaTeX with the rules of the package booktabs; nothing in them is beyond ASCII.

A paper says `\usepackage{booktabs}` and `\input{x.tex}`, and refers to a table by its label.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from archprof.analysis.compare.comparison import Comparison
from archprof.analysis.table import Table
from archprof.render.printed_columns import CellMarks, to_printed_columns
from archprof.wording import make_visible

NEEDS = r"% Needs \usepackage{booktabs} in the preamble."

_ESCAPES = str.maketrans(
    {char: f"\\{char}" for char in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "[": "{[}", "]": "{]}"}
    | {"–": "--", "×": r"$\times$", "±": r"$\pm$", "≥": r"$\geq$", "≤": r"$\leq$", "µ": r"$\mu$"}
)


def render_latex(table: Table) -> str:
    """One table with its label; the title is its caption, and the notes are comments."""
    return _join([NEEDS, *_write_table(table.shown)])


def render_comparison(comparison: Comparison) -> str:
    """The summary, the findings as a list, the stages and the layers."""
    found = [rf"\item {_escape(finding.text)}" for finding in comparison.findings]
    listed = [r"\begin{itemize}", *found, r"\end{itemize}"] if found else []
    tables = [_write_table(table) for table in (comparison.summary, comparison.stages, comparison.layers)]
    return _join([NEEDS, *tables[0], *listed, *tables[1], *tables[2]])


def _write_table(table: Table) -> list[str]:
    columns = to_printed_columns(table, CellMarks(_escape, missing="--", at_least=r"$\geq$ ", times=r"$\times$"))
    body = [_write_row(cells) for cells in zip(*(strip.cells for strip in columns), strict=True)]
    total = [r"\midrule", _write_row(strip.total or "" for strip in columns)] if table.total is not None else []
    return [
        *(f"% {_spell_out(make_visible(note))}" for note in table.notes),
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_escape(table.title)}}}",
        rf"\label{{{make_label(table.title)}}}",
        rf"\begin{{tabular}}{{{''.join('r' if strip.column.numeric else 'l' for strip in columns)}}}",
        r"\toprule",
        _write_row(strip.headed for strip in columns),
        r"\midrule",
        *body,
        *total,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]


def make_label(title: str) -> str:
    """What a paper refers to: "resnet18 by layer" -> "tab:resnet18-by-layer"."""
    return f"tab:{'-'.join(re.findall('[a-z0-9]+', title.lower())) or 'archprof'}"


def _write_row(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _escape(text: str) -> str:
    return _spell_out(make_visible(text).translate(_ESCAPES), r"\textbackslash{}")


def _spell_out(text: str, backslash: str = "\\") -> str:
    """What is beyond ASCII by its number: a name in another script, which the fonts of a paper may not have."""
    if text.isascii():
        return text
    codes = (c if c.isascii() else c.encode("unicode_escape").decode() for c in text)
    return "".join(code.replace("\\", backslash) if len(code) > 1 else code for code in codes)


def _join(lines: Sequence[str]) -> str:
    return "\n".join(lines) + "\n"
