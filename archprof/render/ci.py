"""Verdicts for machines that run checks: GitHub's annotations and step summary, a JUnit report, JSON."""

from __future__ import annotations

import json as json_module
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

from archprof.budgets.verdict_words import describe_check
from archprof.budgets.verdicts import LimitCheck, Verdict
from archprof.wording import make_visible


def render_annotations(verdicts: Sequence[Verdict]) -> str:
    """One line for each limit that is not kept, and a warning for each that is too close to say.

    GitHub shows it, at the model's file where it has one.

    Source: https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions
    """
    return "".join(
        _annotation(verdict, check)
        for verdict in verdicts
        for check in verdict.checks
        if check.is_close or not verdict.passes(check)
    )


def _annotation(verdict: Verdict, check: LimitCheck) -> str:
    file, is_file, _ = verdict.model.partition(".py:")
    place = f"file={_escape_property(file + '.py')}," if is_file else ""
    title = _escape_property(f"archprof: {check.word} of {_cut(verdict.model)} ({check.limit.source})")
    level = "warning" if verdict.passes(check) else "error"
    return f"::{level} {place}title={title}::{_escape_message(describe_check(check))}\n"


def _cut(model: str, most: int = 80) -> str:
    return model if len(model) <= most else f"{model[: most - 1]}…"


def _escape_message(text: str) -> str:
    """The message of a command, in which a percent sign or a line break would mean something."""
    return make_visible(text).replace("%", "%25")


def _escape_property(text: str) -> str:
    """A property of a command, which a colon or comma would end."""
    return _escape_message(text).replace(":", "%3A").replace(",", "%2C")


def render_step_summary(verdicts: Sequence[Verdict]) -> str:
    """Every verdict in Markdown: what to append to the file that `GITHUB_STEP_SUMMARY` names."""
    return f"## archprof: {summarise_outcome(verdicts)}\n\n" + "\n".join(
        verdict.table.to_markdown() for verdict in verdicts
    )


def summarise_outcome(verdicts: Sequence[Verdict]) -> str:
    """How many limits are kept, in one line."""
    failed, of = (sum(map(len, parts)) for parts in zip(*((v.broken, v.checks) for v in verdicts), strict=True))
    return f"{failed} of {of} limits not kept" if failed else f"all {of} limits kept"


def render_junit(verdicts: Sequence[Verdict]) -> str:
    """A JUnit report: a suite per model, a case per limit, a failure where it is not kept."""
    root = ElementTree.Element("testsuites", _totals("archprof", verdicts))
    for verdict in verdicts:
        suite = ElementTree.SubElement(root, "testsuite", _totals(make_visible(verdict.model), [verdict]))
        for check in verdict.checks:
            name = make_visible(f"{check.word}, {check.limit.source}")
            names = {"classname": make_visible(verdict.model), "name": name}
            case = ElementTree.SubElement(suite, "testcase", names)
            if not verdict.passes(check):
                said = make_visible(describe_check(check))
                failure = ElementTree.SubElement(case, "failure", {"message": said, "type": check.status})
                failure.text = said
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _totals(name: str, verdicts: Sequence[Verdict]) -> dict[str, str]:
    tests = sum(len(verdict.checks) for verdict in verdicts)
    failures = sum(len(verdict.broken) for verdict in verdicts)
    return {"name": name, "tests": str(tests), "failures": str(failures), "errors": "0"}


def render_verdicts_json(verdicts: Sequence[Verdict]) -> str:
    """One object, schema 1: every check with its numbers in base units."""
    document = {
        "schema": 1,
        "ok": all(verdict.ok for verdict in verdicts),
        "verdicts": [
            {
                "model": verdict.model,
                "ok": verdict.ok,
                "checks": [_record(verdict, check) for check in verdict.checks],
                "notes": list(verdict.notes),
            }
            for verdict in verdicts
        ],
    }
    return json_module.dumps(document, indent=2) + "\n"


def _record(verdict: Verdict, check: LimitCheck) -> dict[str, Any]:
    predicted = {"predicted_on": check.limit.device} if check.limit.predicts_latency else {}
    return predicted | {
        "metric": check.limit.metric,
        "unit": check.metric.unit,
        "value": check.value,
        "low": check.low,
        "high": check.high,
        "complete": not check.is_lower_bound,
        "limit": check.limit.most,
        "baseline": check.limit.baseline,
        "over": check.over,
        "source": check.limit.source,
        "status": check.status,
        "passes": verdict.passes(check),
        "refused": check.refusal or None,
        "largest": [{"path": path, "value": value} for path, value in check.largest_layers],
    }
