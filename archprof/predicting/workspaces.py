"""Memory that libraries of the device lend themselves beside the tensors, and where each figure is from.

* cuBLAS, once a thread that multiplies: 8,519,680 bytes, on Hopper 33,554,432. Seen in recorded events of torch 2.6 to
  2.11, as `:4096:2:16:8` asks for it. The forward and the backward have a thread each, so that training pays twice.
* cuDNN, the backward of a convolution: 115 MB, or a copy of its weight and, for windows larger than 1 x 1, of its
  input and gradient in another layout, where that is more. Fitted on PePR. Convolutions on less than 4 MB are in no
  row of it at a peak: they are given 32 times what they read, which is a guess.
* With cudnn.benchmark on, the kernels of 1 x 1 windows copy, too: as with timm's script on an A100 (itu-rad/GPUMemNet).
* cuDNN, the forward of a convolution: none was seen at a peak of PePR, in float32. In half precision its kernels want
  channels last, and borrow a copy of an input that has them first: without it, batches are said to fit that did not.
* A depthwise convolution has torch's own kernel, which borrows nothing.
* Short of memory, torch goes on to cuDNN's next kernel for a convolution (aten/native/cudnn/Conv_v7.cpp, Conv_v8.cpp),
  so that a run does not fail for what one would borrow; but for that copy.

PePR is saintslab/PePR@ce087aa: timm models, batch 32, float32, 256 x 256, Adam, on a GPU of 24 GB, cudnn.benchmark off.
"""

from __future__ import annotations

from functools import partial

from archprof.facts.records import Op, TensorSpec
from archprof.predicting.attention_backends import HALVES, Backend, choose_attention_backend
from archprof.predicting.memory_events import Workspaces

MULTIPLYING_OPS = frozenset(
    {"aten.mm", "aten.addmm", "aten.bmm", "aten.baddbmm", "aten.linear", "aten.matmul", "aten.addbmm", "aten.mv"}
)
CUBLAS_BYTES = 8_519_680
CUBLAS_BYTES_HOPPER = 33_554_432
CONVOLUTION_BACKWARD_BYTES = 115_000_000
SMALL_CONVOLUTION_TIMES = 32

ATTENTION_OPS = ("aten.scaled_dot_product_attention", "aten.scaled_dot_product_attention_backward")
PLAIN_ITEM_BYTES = 4
"""Of a score in torch's plain attention, which multiplies in float32 what it is given in half precision."""

HOPPER_NAMES = ("H100", "H200", "GH200", "H800", "H20")


def choose_workspaces(device: str | None, *, benchmark: bool = False) -> Workspaces:
    """What libraries lend themselves on the device of that name; `benchmark`: with cudnn.benchmark on."""
    hopper = device is not None and any(name in device for name in HOPPER_NAMES)
    lend = partial(lend_to_op, benchmark=benchmark)
    return Workspaces(lend, keeps_workspace, CUBLAS_BYTES_HOPPER if hopper else CUBLAS_BYTES, spares_workspace)


def lend_to_op(op: Op, *, benchmark: bool = False) -> tuple[int, ...]:
    """Bytes of each block that the kernel of an op borrows while it runs; none where a profile has no layouts."""
    if not op.signature.inputs:
        return ()
    if op.name in ATTENTION_OPS:
        return _lend_to_attention(op)
    if op.name == "aten.convolution":
        return _lend_to_forward(op)
    if op.name != "aten.convolution_backward":
        return ()
    gradient, given, weight = op.signature.inputs[:3]
    if _is_depthwise(given, weight):
        return ()
    is_product = not benchmark and all(size == 1 for size in weight.shape[2:])
    operands = weight.nbytes + given.nbytes + gradient.nbytes
    copies = weight.nbytes if is_product else operands
    return (max(min(CONVOLUTION_BACKWARD_BYTES, SMALL_CONVOLUTION_TIMES * operands), copies),)


def _lend_to_forward(op: Op) -> tuple[int, ...]:
    given, weight = op.signature.inputs[:2]
    is_channels_last = given.strides is not None and given.strides[1] == 1
    copies = given.dtype in HALVES and not is_channels_last and not _is_depthwise(given, weight)
    return (given.nbytes,) if copies else ()


def _is_depthwise(given: TensorSpec, weight: TensorSpec) -> bool:
    return weight.shape[1] == 1 < given.shape[1]


def find_attention_backend(op: Op) -> Backend:
    """The kernel of an attention, or of its backward, whose inputs stand behind the gradient."""
    place = 1 if op.name.endswith("_backward") else 0
    query = op.signature.inputs[place]
    masked = len(op.signature.inputs) > 3 + 4 * place
    return choose_attention_backend(len(query.shape), query.dtype, query.shape[-1], masked=masked)


def _lend_to_attention(op: Op) -> tuple[int, ...]:
    """What torch's plain attention has at once, beside what it keeps for the backward.

    In the forward: its operands in float32, the scaled query, the scores, their softmax, and as that is safe, a truth
    value for each score and each query. In the backward: the gradients of scores and softmax.
    """
    if find_attention_backend(op) != "math":
        return ()
    backward, kept = op.name.endswith("_backward"), op.signature.keeps is not None
    query, key, value = op.signature.inputs[1:4] if backward else op.signature.inputs[:3]
    if not query.numel:
        return ()
    rows, item = query.numel // query.shape[-1], max(query.nbytes // query.numel, PLAIN_ITEM_BYTES)
    scores = rows * key.shape[-2]
    if backward:
        return (scores * item,) * 2
    copies = [query, key] if query.dtype in HALVES else []
    if not kept:
        copies += [value, query] if copies else [query]
    operands = [one.numel * item for one in copies]
    return *operands, scores * item, *(() if kept else (scores * item,)), scores, rows


def keeps_workspace(op: Op) -> bool:
    """Whether it is a product of cuBLAS, whose workspace stays from the first of a thread on."""
    return op.name in MULTIPLYING_OPS


def spares_workspace(op: Op) -> bool:
    """Whether torch tries kernels that borrow less where the memory for one is not there."""
    return op.name == "aten.convolution_backward"
