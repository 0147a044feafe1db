"""What a `.pt2` file holds, read as data: a zip archive with the graph as JSON and tensors as plain bytes.

`torch.export.load` would unpickle example inputs and custom objects, evaluate expressions, look operators up by any
name in torch and open compiled libraries; each of these can run code that came with the file. Nothing of that is done
here: example inputs and pickled tensors are known by their shapes alone.
"""

from __future__ import annotations

import json
import math
import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from archprof.errors import ArchprofError, UsageError
from archprof.files import expand_home
from archprof.sources.build import MAX_READABLE_ELEMENTS
from archprof.torchside.free_memory import refuse_without_room

PT2_SCHEMA = 8
"""The major version of the JSON that is read here, in use since torch 2.5 (torch/_export/serde/schema.py)."""

DTYPE_BY_NUMBER = {
    1: torch.uint8, 2: torch.int8, 3: torch.int16, 4: torch.int32, 5: torch.int64, 6: torch.float16, 7: torch.float32,
    8: torch.float64, 9: torch.complex32, 10: torch.complex64, 11: torch.complex128, 12: torch.bool,
    13: torch.bfloat16, 28: torch.uint16, 29: torch.float8_e4m3fn, 30: torch.float8_e5m2, 31: torch.float8_e4m3fnuz,
    32: torch.float8_e5m2fnuz, 33: torch.float8_e8m0fnu, 34: torch.uint32, 35: torch.uint64,
}  # fmt: skip
"""`ScalarType` of the schema."""

STRIDED_LAYOUT = 7
"""`Layout.Strided` of the schema."""

MALFORMED_FILE_ERRORS = (
    LookupError, TypeError, ValueError, AttributeError, StopIteration, RuntimeError, ArithmeticError, EOFError,
    MemoryError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What reading a file that is not what it says may raise."""


@dataclass(frozen=True, slots=True)
class ProgramTensor:
    """A tensor of the program: shape, strides and offset in elements; `path` of its bytes, or `None`."""

    shape: tuple[int, ...]
    dynamic: tuple[bool, ...]
    strides: tuple[int, ...]
    offset: int
    dtype: torch.dtype
    trainable: bool
    payload_path: str | None = None


LARGEST_MEMBER_BYTES = 2**28
"""Of a graph, which has some 2**10 an op."""


class Pt2Archive:
    """An open `.pt2` file.

    Attributes:
        program: the JSON of its graph module.
        stored_tensors: parameters, buffers and constants by their names in the model, of the values that were saved.
    """

    def __init__(self, path: str) -> None:
        self.path, file = path, expand_home(path)
        if not os.path.isfile(file):  # a device may have no end
            raise UsageError(f"There is no file {path}.")
        try:
            with zipfile.ZipFile(file) as self.zip:
                self.program: Any = self._read_graph_module()
                self.stored_tensors: dict[str, ProgramTensor] = {}
                for folder in ("weights", "constants"):
                    self.stored_tensors |= self._read_stored_tensors(folder)
        except (OSError, *MALFORMED_FILE_ERRORS) as error:
            raise self.make_unreadable_error(error) from error

    def make_unreadable_error(self, error: Exception) -> ArchprofError:
        return ArchprofError(
            f"{self.path} cannot be read as an exported program: {type(error).__name__}: {error}",
            "A file that torch.export.save wrote, by torch 2.9 or newer.",
            "Or profile the module itself: net.py:Net",
        )

    def _read_graph_module(self) -> Any:
        names = self.zip.namelist()
        models = [name for name in names if name.partition("/")[2].startswith("models/") and name.endswith(".json")]
        if len(models) != 1:
            what = f"it holds {len(models)} programs" if models else "it holds no program of this format"
            raise ValueError(what)
        self.folder = models[0].partition("/")[0]
        self.name = models[0].rpartition("/")[2].removesuffix(".json")
        if self._read_member(f"{self.folder}/byteorder") != b"little":
            raise ValueError("its bytes are in another order")
        saved = json.loads(self._read_member(models[0]))
        if saved["schema_version"]["major"] != PT2_SCHEMA:
            raise ValueError(f"its schema is {saved['schema_version']['major']}, and {PT2_SCHEMA} is known here")
        return saved["graph_module"]

    def _read_stored_tensors(self, kind: str) -> dict[str, ProgramTensor]:
        """The tensors of one folder of the archive; custom objects, which have no shape, are left out."""
        config = f"{self.folder}/data/{kind}/{self.name}_{kind}_config.json"
        if config not in self.zip.namelist():
            return {}
        entries = json.loads(self._read_member(config))["config"]
        return {
            name: read_tensor_meta(
                entry["tensor_meta"], None if entry["use_pickle"] else self._find_payload(kind, entry["path_name"])
            )
            for name, entry in entries.items()
            if entry.get("tensor_meta")
        }

    def _read_payload(self, tensor: ProgramTensor, member: str) -> bytearray:
        """The bytes of a stored tensor, as far as it reaches into its storage."""
        last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True))
        with zipfile.ZipFile(expand_home(self.path)) as archive:
            needed = min((tensor.offset + last + 1) * tensor.dtype.itemsize, archive.getinfo(member).file_size)
            refuse_without_room(f"{member} of {self.path}", needed)
            with archive.open(member) as file:
                return bytearray(file.read(needed))

    def _read_member(self, name: str) -> bytes:
        """What is no tensor: a few bytes may stand for more than the memory holds."""
        if (size := self.zip.getinfo(name).file_size) > LARGEST_MEMBER_BYTES:
            raise ValueError(f"{name} has {size:,} bytes")
        return self.zip.read(name)

    def _find_payload(self, kind: str, name: str) -> str | None:
        """Where the bytes of a tensor are; a model on meta was saved without any."""
        path = f"{self.folder}/data/{kind}/{name}"
        return path if self.zip.getinfo(path).file_size else None

    def load_tensor(self, name: str, *, values: bool) -> torch.Tensor:
        """A stored tensor: on meta, but for small integers, or with its values (zeros where they are pickled)."""
        known = self.stored_tensors[name]
        real = values or not (known.dtype.is_floating_point or known.dtype.is_complex)
        if not values and math.prod(known.shape) > MAX_READABLE_ELEMENTS:
            real = False
        if not real or known.payload_path is None or not math.prod(known.shape):
            device = "cpu" if real else "meta"
            return torch.empty_strided(known.shape, known.strides, dtype=known.dtype, device=device).zero_()
        content = self._read_payload(known, known.payload_path)
        return torch.frombuffer(content, dtype=known.dtype).as_strided(known.shape, known.strides, known.offset)


def read_tensor_meta(meta: Mapping[str, Any], path: str | None = None) -> ProgramTensor:
    """`TensorMeta` of the schema, a dynamic size as it was when exported."""
    if meta["layout"] != STRIDED_LAYOUT:
        raise ValueError(f"it has a tensor of another layout than strided: {meta['layout']}")
    return ProgramTensor(
        shape=tuple(map(_read_size, meta["sizes"])),
        dynamic=tuple("as_expr" in size for size in meta["sizes"]),
        strides=tuple(map(_read_size, meta["strides"])),
        offset=_read_size(meta["storage_offset"]),
        dtype=DTYPE_BY_NUMBER[meta["dtype"]],
        trainable=meta["requires_grad"],
        payload_path=path,
    )


def _read_size(size: Mapping[str, Any]) -> int:
    known = size["as_int"] if "as_int" in size else (size["as_expr"]["hint"] or {}).get("as_int")
    if type(known) is not int or known < 0:
        raise ValueError("a size of it was not known when it was exported")
    return known
