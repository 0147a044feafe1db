"""The kernels that an op runs: of what class, how much arithmetic, how many bytes, and the sizes of a product.

A product is written as `batch` matrix products of m x k by k x n, whatever op it comes of: a convolution is the one
that its implicit GEMM makes, its backward two.
"""

from __future__ import annotations

import re
from functools import cache
from math import prod
from typing import Literal, NamedTuple

from archprof.facts.ops import Signature, drop_overload

Kind = Literal[
    "matmul", "bmm", "conv", "conv1x1", "grouped", "depthwise", "dgrad", "wgrad", "grouped_back", "depthwise_back",
    "attention", "norm", "group_norm", "softmax", "pool", "reduce", "pointwise", "gather", "copy", "optimizer", "view",
]  # fmt: skip
"""A class of kernels that share their efficiencies. "dgrad" and "wgrad" are the backward of a dense convolution, by its
input and by its weight; "optimizer" goes over lists of tensors; a "view" runs none, and costs the host alone."""


THIN_ROWS, THIN_ROWS_FULL = 64, 4
"""Rows of a product that cost next to nothing beside its weights: of one tile of tensor cores; without them, of few
threads."""

WIDEST_SHARED, SHARED_CHANNELS = 48, 128
"""Channels of the widest group of which several share a tile in a backward with channels last, and of that tile."""


class Work(NamedTuple):
    """One kernel of an op, or a view.

    Attributes:
        kind: its class.
        dtype: of its factors, or of what it reads.
        macs, flops: its arithmetic.
        read, written: bytes.
        sizes: batch, m, n and k of a product; heads of the batch, queries, keys and size of a head of an attention;
            planes that each thread goes over, and threads, of an interpolation; elements of a channel and channels of a
            batch norm that takes their statistics, and whether its kernel is torch's own.
        area: positions of the window of a convolution or pooling, 1 without one.
        tensors: how many it goes over, of a list.
        permuted: it reads or writes with other strides than the plain ones.
        patches: of 2 x 2 results, where Winograd's algorithm may be used: 3 x 3, dense, stride 1; else 0.
        row: elements that a softmax or a norm of rows goes over together; 0 of other kinds.
    """

    kind: Kind
    dtype: str
    macs: int = 0
    flops: int = 0
    read: int = 0
    written: int = 0
    sizes: tuple[int, int, int, int] = (0, 0, 0, 0)
    area: int = 1
    tensors: int = 1
    permuted: bool = False
    patches: int = 0
    row: int = 0

    @property
    def thin(self) -> bool:
        """A matrix product of few rows, as for one token: its weights stream past once, and nothing else counts."""
        rows = THIN_ROWS if self.dtype in ("float16", "bfloat16") else THIN_ROWS_FULL
        return self.kind == "matmul" and self.sizes[1] <= rows

    @property
    def aligned(self) -> bool:
        """Whether its channels suit tensor cores: multiples of 8, or an image's three; in a group, a power of two.

        Of the backward of groups, whether several of them fill a tile together: narrow, as many channels in as out.
        """
        groups, m, n, k = self.sizes
        if self.kind == "grouped":
            return n & (n - 1) == 0
        if self.kind == "grouped_back":
            is_square = n * self.area in (m, k)
            return is_square and n <= WIDEST_SHARED and not groups * n % SHARED_CHANNELS
        channels = (m if self.kind == "wgrad" else k) // self.area
        return not n % 8 and (not channels % 8 or channels < 5)


KINDS_BY_NAME: tuple[tuple[str, Kind], ...] = (
    (r"^_foreach_|^_fused_", "optimizer"),
    (r"group_norm", "group_norm"),
    (r"_norm(_|$)|^norm_except", "norm"),
    (r"softmax", "softmax"),
    (r"pool", "pool"),
    (r"embedding|index|gather|scatter|take|upsample|grid_sample|interpolate|nonzero|masked", "gather"),
    (r"^(clone|copy|_to_copy|cat|stack|contiguous|constant_pad|pad|roll|repeat|fill|zero|zeros|ones|full|select_back"
     r"ward|slice_backward|pixel_|channel_shuffle|flip|im2col|col2im|lift|unfold|reflection_pad|replication_pad)",
     "copy"),
    (r"^(sum|mean|amax|amin|max|min|var|std|var_mean|norm|linalg|argmax|argmin|topk|sort|cumsum|prod|any|all|logsum)"
     r"(_|$)", "reduce"),
)  # fmt: skip
"""The class of what is no product, by the name without namespace; the first that matches, else "pointwise"."""

LOOPS_OVER_PLANES = re.compile(r"^upsample_(linear1d|bilinear2d|bicubic2d|trilinear3d)$")
"""Kernels of torch with one thread per position of the result, which goes over all images and channels in turn."""


def list_works(signature: Signature) -> tuple[Work, ...]:
    """What an op runs on the device, in order; a single "view" where it runs nothing."""
    name = drop_overload(signature.name).rpartition(".")[2]
    if "attention" in name:
        return (_describe_attention(signature),)
    if name == "convolution_backward" and len(signature.inputs) >= 3:
        return _list_convolution_backward(signature)
    if signature.window is not None and signature.macs and len(signature.inputs) >= 2 and signature.outputs:
        return (_describe_convolution(signature),)
    if signature.macs:
        return (_describe_product(signature, name),)
    if signature.status == "zero" and not signature.bytes_read + signature.bytes_written:
        return (Work("view", ""),)
    return (_describe_mover(signature, name),)


def _dtype_of(signature: Signature) -> str:
    specs = signature.inputs or signature.outputs
    return specs[0].dtype if specs else "float32"


def _describe_mover(signature: Signature, name: str) -> Work:
    """What is no product: bytes are what it takes."""
    kind = _find_kind(name)
    written, tensors = signature.bytes_written, 1
    if kind == "optimizer":
        tensors = max(len(signature.inputs), len(signature.outputs), 1)
        written = written or _first_list_bytes(signature)
    permuted = any(spec.strides is not None for spec in (*signature.inputs, *signature.outputs))
    read = signature.bytes_read * _count_readings(signature, name)
    return Work(
        kind, _dtype_of(signature), 0, signature.flops or 0, read, written, _count_loops(signature, name),
        tensors=tensors, permuted=permuted, area=prod(signature.window.kernel) if signature.window else 1,
        row=_find_row(signature, name),
    )  # fmt: skip


@cache
def _find_kind(name: str) -> Kind:
    """The class of an op that is no product."""
    return next((kind for pattern, kind in KINDS_BY_NAME if re.search(pattern, name)), "pointwise")


def _count_readings(signature: Signature, name: str) -> int:
    """How often a kernel reads what it reads: statistics that are no longer in the cache take a pass of their own."""
    if name in ("native_group_norm", "native_batch_norm_backward", "native_group_norm_backward"):
        return 2
    return 2 if name == "native_batch_norm" and True in signature.args else 1


def _count_loops(signature: Signature, name: str) -> tuple[int, int, int, int]:
    """Planes and positions of an interpolation whose threads go over planes; none with channels last. Elements of a
    channel and channels of a batch norm whose blocks each go over one; whether in torch's kernel, since cuDNN's takes
    no weights in half precision.
    """
    if "batch_norm" in name and True in signature.args:
        shape = signature.inputs[0].shape
        weight = next((spec.dtype for spec in signature.inputs if len(spec.shape) == 1), "float32")
        return prod(shape) // max(shape[1], 1), shape[1], 0, int(weight in ("float16", "bfloat16"))
    shape = signature.outputs[0].shape if signature.outputs else ()
    if not LOOPS_OVER_PLANES.match(name) or signature.inputs[0].strides is not None:
        return 0, 0, 0, 0
    return prod(shape[:2]), prod(shape[2:]), 0, 0


def _find_row(signature: Signature, name: str) -> int:
    """Elements that are normalized together: what `native_layer_norm` is told, or the dimension of a softmax."""
    shape = signature.inputs[0].shape if signature.inputs else ()
    given = next((argument for argument in signature.args if isinstance(argument, tuple | int)), None)
    if "layer_norm" in name or "rms_norm" in name:
        return prod(given) if isinstance(given, tuple) else shape[-1] if shape else 0
    if "softmax" in name and shape:
        return shape[given if isinstance(given, int) and given < len(shape) else -1]
    return 0


def _first_list_bytes(signature: Signature) -> int:
    """Bytes of the first list of tensors among the arguments, which an op in place writes."""
    first = next((argument for argument in signature.args if isinstance(argument, tuple)), ())
    return sum(spec.nbytes for spec in signature.inputs[: len(first)])


def _describe_product(signature: Signature, name: str) -> Work:
    """A matrix product by the shape of its result; k follows from its multiply-accumulates."""
    macs, shape = signature.macs or 0, signature.outputs[0].shape if signature.outputs else ()
    n = shape[-1] if shape else 1
    rest = prod(shape[:-1])
    m = shape[-2] if len(shape) > 2 and name not in ("linear", "mv", "addmv") else rest
    batch = rest // m if m else 1
    k = macs // max(prod(shape), 1)
    kind: Kind = "bmm" if batch > 1 else "matmul"
    return Work(
        kind, _dtype_of(signature), macs, signature.flops or 0, signature.bytes_read, signature.bytes_written,
        (batch, m, n, k),
    )  # fmt: skip


def _describe_convolution(signature: Signature) -> Work:
    window, macs = signature.window, signature.macs or 0
    assert window is not None
    image, weight, out = signature.inputs[0], signature.inputs[1], signature.outputs[0]
    groups, area = window.groups, prod(window.kernel)
    if window.transposed:  # the backward by its input of the convolution that goes the other way
        sizes = (groups, image.shape[0] * prod(out.shape[2:]), out.shape[1] // groups, 0)
    else:
        sizes = (groups, out.shape[0] * prod(out.shape[2:]), weight.shape[0] // groups, 0)
    k = macs // max(prod(sizes[:3]), 1)
    kind = _choose_convolution(groups, weight.shape[1], area)
    return Work(
        kind, image.dtype, macs, signature.flops or 0, signature.bytes_read, signature.bytes_written, (*sizes[:3], k),
        area, patches=_count_patches(signature, out.shape),
    )  # fmt: skip


def _count_patches(signature: Signature, out: tuple[int, ...]) -> int:
    """Patches of 2 x 2 of a result, where the convolution is one of those that Winograd's algorithm is used for."""
    window = signature.window
    if window is None or window[:2] != ((3, 3), (1, 1)) or window.groups > 1 or window.dilation != (1, 1):
        return 0
    return out[0] * -(-out[2] // 2) * -(-out[3] // 2)


def _choose_convolution(groups: int, group_channels: int, area: int) -> Kind:
    if groups > 1:
        return "depthwise" if group_channels == 1 else "grouped"
    return "conv1x1" if area == 1 else "conv"


def _list_convolution_backward(signature: Signature) -> tuple[Work, ...]:
    """One product for the gradient of the input, one for that of the weight, a sum for that of the bias."""
    window = signature.window
    grad, image, weight = signature.inputs[:3]
    mask = signature.args[-1] if signature.args and isinstance(signature.args[-1], tuple) else (True, True, False)
    groups = window.groups if window else 1
    area = prod(weight.shape[2:])
    back: Kind = "depthwise_back" if weight.shape[1] == 1 else "grouped_back"
    shares = max(sum(bool(one) for one in mask[:2]), 1)
    macs = (signature.macs or 0) // shares
    patches = _count_patches(signature, grad.shape)
    works = []
    if mask[0]:
        m, n = image.shape[0] * prod(image.shape[2:]), image.shape[1] // groups
        sizes = (groups, m, n, max(macs // max(groups * m * n, 1), 1))
        kind: Kind = "dgrad" if groups == 1 else back
        works.append(
            Work(
                kind, grad.dtype, macs, 2 * macs, grad.nbytes + weight.nbytes, image.nbytes, sizes, area,
                patches=patches,
            )
        )  # fmt: skip
    if mask[1]:
        n, m = weight.shape[0] // groups, weight.shape[1] * area
        sizes = (groups, m, n, max(macs // max(groups * m * n, 1), 1))
        kind = "wgrad" if groups == 1 else back
        works.append(
            Work(
                kind,
                grad.dtype,
                macs,
                2 * macs,
                grad.nbytes + image.nbytes,
                weight.nbytes,
                sizes,
                area,
                patches=patches,
            )
        )
    if len(mask) > 2 and mask[2]:
        works.append(Work("reduce", grad.dtype, 0, grad.numel, grad.nbytes, 0))
    return tuple(works) or (Work("view", ""),)


def _describe_attention(signature: Signature) -> Work:
    """A fused attention: heads of the batch, queries, keys, size of a head."""
    query = next((spec for spec in signature.inputs if len(spec.shape) >= 3), None)
    if query is None:
        return _describe_mover(signature, "attention")
    key = signature.inputs[1] if len(signature.inputs) > 1 else query
    keys = key.shape[-2] if len(key.shape) > 1 else 1
    sizes = (prod(query.shape[:-2]), max(query.shape[-2], 1), max(keys, 1), max(query.shape[-1], 1))
    return Work(
        "attention", query.dtype, signature.macs or 0, signature.flops or 0, signature.bytes_read,
        signature.bytes_written, sizes,
    )  # fmt: skip
