"""Backwards questions as tables: which inputs give an output, and what is the largest setting inside a budget."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from archprof import units
from archprof.analysis.metrics import METRIC_BY_KEY
from archprof.analysis.phrases import tenths_of_percent
from archprof.analysis.table import Column, Row, Table

if TYPE_CHECKING:
    from archprof.sweeping.fit import Fit, FitStep
    from archprof.sweeping.solve_inputs import InputSizes, TracedSize

BUDGET_COLUMNS = {
    name: METRIC_BY_KEY[key].column_of_model(rank, key=name, header=METRIC_BY_KEY[key].short_label)
    for name, key, rank in (
        ("params", "params", 1),
        ("macs", "macs", 1),
        ("flops", "flops", 2),
        ("activation", "activation_bytes", 2),
    )
}
"""What can be limited."""

MEMORY_COLUMN = METRIC_BY_KEY["memory"].column_of_model(1)
"""Shown where it is limited."""

LATENCY_COLUMN = METRIC_BY_KEY["predicted"].column_of_model(1, meaning="predicted time on the device, the middle")
PREDICTED_COLUMNS = {"memory": MEMORY_COLUMN, "latency": LATENCY_COLUMN}


def _budget_columns(result: Fit) -> dict[str, Column]:
    return BUDGET_COLUMNS | {key: column for key, column in PREDICTED_COLUMNS.items() if key in result.budgets}


def tabulate_inputs(answer: InputSizes) -> Table:
    """One row per input size that meets the conditions: the layers' sizes, what the model returns, and if it runs."""
    wanted = [
        Column(f"output_{i}", where.path or "the model", "text", f"height and width of the output of {where.path}", 1)
        for i, where in enumerate(answer.conditions, start=1)
    ]
    columns = (
        Column("input", "Input", "path", "height and width of the input", 0),
        *wanted,
        Column("output", "Output", "shapes", "shapes of what the model returns", 2),
        Column("runs", "Runs", "text", "whether the forward comes to its end", 0),
    )
    title = f"Inputs of {answer.model} with {', '.join(map(str, answer.conditions))}"
    return Table(title, columns, tuple(map(_found, answer.found)), notes=tuple(_inputs_notes(answer)))


def _found(found: TracedSize) -> Row:
    runs = "yes" if found.problem is None else "no"
    return Row((_size(found.size), *map(_size, found.layer_sizes), found.outputs or None, runs))


def _inputs_notes(answer: InputSizes) -> list[str]:
    among = "height = width" if answer.square else "height and width apart"
    lines = [f"Sizes from {answer.lo} to {answer.hi} were looked for, {among}; each one above was traced."]
    if not answer.found:
        lines.insert(0, "No input size gives this.")
    if answer.near:
        lines.append("; ".join(f"{_size(near.size)} gives {_gives(near)}" for near in answer.near) + ".")
    for problem in dict.fromkeys(found.problem for found in answer.found if found.problem):
        sizes = [_size(found.size) for found in answer.found if found.problem == problem]
        lines.append(f"{sizes[0]}{f' to {sizes[-1]}' if len(sizes) > 1 else ''}: {problem}")
    return lines


def _gives(found: TracedSize) -> str:
    return ", ".join(_size(size) or "nothing" for size in found.layer_sizes)


def _size(size: tuple[int, int] | None) -> str | None:
    return None if size is None else f"{size[0]}x{size[1]}"


def tabulate_fit(result: Fit) -> Table:
    """The largest setting that fits, its neighbours and their costs; the notes say by how much the next one is over."""
    columns = (
        Column("setting", "Setting", "path", f"the {result.over}", 0),
        Column("fits", "Fits", "text", "whether it runs and breaks no budget", 0),
        *_budget_columns(result).values(),
    )
    steps = [step for step in (result.below, result.found, result.above, result.smallest) if step is not None]
    rows = tuple(_step(step, result) for step in steps)
    limits = ", ".join(f"{_shown(key, limit)} {_name(key)}" for key, limit in result.budgets.items())
    where = f" on {result.device}" if result.device else ""
    title = f"{result.model} over {result.over}, at most {limits}{where}"
    return Table(title, columns, rows, notes=tuple(_fit_notes(result)))


def _step(step: FitStep, result: Fit) -> Row:
    fits = step.problem is None and not step.find_overruns(result.budgets)
    costs = tuple((step.costs or {}).get(key) for key in _budget_columns(result))
    bounds = frozenset(column.key for key, column in _budget_columns(result).items() if key in step.bounds)
    known = step.latency and (step.latency.high - step.latency.low) / 20
    within = {"predicted": known} if known else {}
    return Row((step.label, "yes" if fits else "no", *costs), bounds=bounds, half_intervals=within)


def _fit_notes(result: Fit) -> list[str]:
    """The answer in a sentence, then why the next setting is not it."""
    lines = [f"The largest that fits: {result.found.label}."] if result.found else ["Nothing fits."]
    beyond = result.above if result.found else result.smallest
    if beyond is None:
        lines.append("No budget breaks up to there, where the search ended.")
    else:
        lines += _why_not(beyond, result)
    lines += _say_edge(result)
    lines += _say_bounds(result)
    lines += _say_intervals(result)
    activation = f"Activation memory in {result.dtype}. " if "activation" in result.budgets else ""
    return [*lines, f"{activation}1 MAC = 2 FLOPs. Settings traced: {result.tried:,}."]


def _say_edge(result: Fit) -> list[str]:
    """Where memory is what ends it: how far it was looked, for it does not grow evenly."""
    if result.larger is None:
        return []
    gap = [] if result.gap is None else [f"{result.gap.label} is smaller, and does not fit."]
    tried = f"Of the larger ones {result.larger:,} were tried"
    return [*gap, f"{tried}: memory comes in segments and does not grow evenly, so that another may fit."]


def _say_bounds(result: Fit) -> list[str]:
    """What fits by a lower bound may not fit."""
    bounds = [_name(key) for key in result.budgets if result.found and key in result.found.bounds]
    if not bounds or result.found is None:
        return []
    return [f"Not all of the pass was counted, and {' and '.join(bounds)} are lower bounds: "
            f"{result.found.label} may be over its budget, and none larger fits."]  # fmt: skip


def _say_intervals(result: Fit) -> list[str]:
    """What is predicted of the largest that fits, and whether the budget is too near to be sure of it."""
    latency = result.found.latency if result.found else None
    if latency is None or result.found is None:
        return []
    low, high = (units.show_quantity(value, "seconds") for value in (latency.low, latency.high))
    said = f"Predicted, not measured: nine of ten times of {result.found.label} should lie in [{low}, {high}]"
    if "latency" in result.found.bounds:
        return [f"Predicted, not measured: {result.found.label} takes at least {low}."]
    near = latency.low < result.budgets["latency"] < latency.high
    return [f"{said}, and so does the budget: measure to be sure." if near else f"{said}."]


def _why_not(step: FitStep, result: Fit) -> list[str]:
    if step.problem is not None:
        return [f"{step.label} does not run: {step.problem}"]
    which = "" if result.found else ", the smallest that runs,"
    lines = []
    for key, over in step.find_overruns(result.budgets).items():
        share = tenths_of_percent(Fraction(over) / Fraction(result.budgets[key]))
        lines.append(f"{step.label}{which} is over the budget of {_name(key)} by {_shown(key, over)} ({share}).")
    return lines


def _name(key: str) -> str:
    return BUDGET_COLUMNS[key].header if key in BUDGET_COLUMNS else key


def _shown(key: str, value: float) -> str:
    return units.show_quantity(value, (BUDGET_COLUMNS | PREDICTED_COLUMNS)[key].unit)
