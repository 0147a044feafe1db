"""Records as a pandas DataFrame: the one place that needs pandas, which is imported when a frame is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def make_frame(records: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Any:
    """A DataFrame with a column for each name, raw: what is missing stays `None`, and whole numbers stay whole."""
    import pandas

    columns = {name: [record.get(name) for record in records] for name in names}
    return pandas.DataFrame(
        {name: pandas.Series(raw, dtype=object if None in raw else None) for name, raw in columns.items()}
    )
