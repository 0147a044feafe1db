"""The blocks of a strip as a table, for every format that tables have."""

from __future__ import annotations

from archprof.analysis.network.strip import Block, Lane, Network
from archprof.analysis.table import Column, Row, Table

BLOCK_COLUMNS = (
    Column("block", "Block", "path", "a layer with those behind it, or equal blocks", 0),
    Column("count", "×", "count", "equal blocks that it stands for", 1),
    Column("kind", "Kind", "text", "the class, or the op where a module works itself", 2),
    Column("output", "Output", "shapes", "without the batch", 2),
    Column("macs", "MACs", "count", "of all of them", 0),
    Column("share_macs", "MACs", "share", "of the model's", 1),
    Column("params", "Params", "count", "of all of them", 0),
    Column("share_params", "Params", "share", "of the model's", 1),
    Column("live", "Live", "bytes", "most bytes live while they run forward", 1),
)
TIME_COLUMN = Column("latency", "Time", "seconds", "of all of them", 0)
PREDICTED_COLUMN = Column("predicted", "Predicted", "seconds", "of all of them, told by no clock", 0)


def tabulate_network(network: Network) -> Table:
    """A row for each block; the rows add up to the whole."""
    lanes: dict[str, Lane] = {lane.key: lane for lane in network.lanes}
    macs, params, time = lanes["macs"], lanes["params"], lanes.get("latency")
    columns = (*BLOCK_COLUMNS, PREDICTED_COLUMN if time.is_predicted else TIME_COLUMN) if time else BLOCK_COLUMNS

    def cells(at: int, block: Block) -> Row:
        counted = [part for lane in (macs, params) for part in (lane.values[at], lane.share(at))]
        live = max(network.live.curves[at], default=None)
        shape = None if block.shape is None else (block.shape,)
        return Row((block.name, block.count, block.kind, shape, *counted, live, *((time.values[at],) if time else ())))

    rows = tuple(cells(at, block) for at, block in enumerate(network.blocks))
    sums = [part for lane in (macs, params) for part in (lane.total, 1.0 if lane.total else None)]
    cells_below = (None, None, None, None, *sums, network.live.peak, *((time.total,) if time else ()))
    bounds = {"predicted" if lane.is_predicted else lane.key for lane in network.lanes if lane.is_bound}
    total = Row(cells_below, name="Total", bounds=frozenset(bounds))
    timed = (f"{time.title}: {time.words}.",) if time else ()
    said = (*timed, f"Live bytes: {network.live.words}.", *network.notes)
    return Table(f"{network.title} along its length", columns, rows, total, said)
