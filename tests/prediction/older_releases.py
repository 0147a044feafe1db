"""What releases of torch did otherwise under which others measured: the package knows those that it runs under.

* Before 2.5 the plain attention had its scores in the dtype of its operands, and a softmax that was not safe
  (attention.cpp).
* Before 2.8 the efficient kernel of attention did not take more than 65,535 sequences (pytorch#154029), and torch's own
  kernel of a depthwise convolution, which cuDNN replaces for some sizes in float16 and where channels come last, none
  with more than 2^31 - 1 elements (pytorch#153101; Convolution.cpp, DepthwiseConv2d.cu).
* Before 2.10 max_pool2d did not return more elements than that (pytorch#167253).
"""

from __future__ import annotations

from collections.abc import Callable

from archprof.facts.records import Op, Profile
from archprof.predicting.size_limits import MOST_BLOCKS, MOST_ELEMENTS
from archprof.predicting.workspaces import find_attention_backend

Release = tuple[int, int]
Lend = Callable[[Op], tuple[int, ...]]
RELEASES: dict[str, Release] = {
    "pt112": (1, 12), "pt113": (1, 13), "pt210": (2, 1), "pt240": (2, 4), "pt291": (2, 9),
}  # fmt: skip
ATTENTION = "aten.scaled_dot_product_attention"


def lend_as_measured(release: Release, layout: str, usual: Lend) -> Lend:
    """What ops borrow in a layout, with the plain attention of a release, of a forward without a backward."""

    def lend(op: Op) -> tuple[int, ...]:
        if op.name == "aten.convolution" and layout == "nhwc":
            return ()
        is_plain = op.name == ATTENTION and find_attention_backend(op) == "math"
        if release >= (2, 5) or not is_plain or op.signature.keeps is not None:
            return usual(op)
        query, key = op.signature.inputs[:2]
        scores = query.nbytes // query.shape[-1] * key.shape[-2]
        return query.nbytes, scores, scores

    return lend


def refuses(profile: Profile, release: Release, layout: str) -> bool:
    """Whether a kernel of that release does not take the sizes of an op, which today's do; layout: "nchw" or "nhwc"."""
    ops = {id(op.signature): op for op in profile.ops}.values()
    return any(_refuses_op(op, release, layout) for op in ops)


def _refuses_op(op: Op, release: Release, layout: str) -> bool:
    given, made = op.signature.inputs[:1], op.signature.outputs[:1]
    if op.name == ATTENTION and release < (2, 8):
        return find_attention_backend(op) == "efficient" and given[0].shape[0] > MOST_BLOCKS
    if op.name == "aten.max_pool2d_with_indices" and release < (2, 10):
        return made[0].numel > MOST_ELEMENTS
    if op.name == "aten.convolution" and release < (2, 8) and layout == "nchw" and _runs_depthwise_kernel(op):
        return max(given[0].numel, made[0].numel) > MOST_ELEMENTS
    return False


def _runs_depthwise_kernel(op: Op) -> bool:
    """Whether torch's own kernel runs, and not cuDNN's, as check_cudnn_depthwise_workload_with_filter says."""
    given, weight = op.signature.inputs[:2]
    window = op.window
    if window is None or window.groups == 1 or window.groups != given.shape[1]:
        return False
    channels, width, kernel = given.shape[1], given.shape[-1], weight.shape[-1]
    if given.dtype != "float16" or channels < 32 or len(set(weight.shape[2:])) > 1 or kernel not in (1, 3, 5):
        return True
    if width < 7 or window.stride == (1, 1):
        return width < 7
    return window.stride != (2, 2) or kernel == 1 or not (channels >= 512 or (channels >= 256 and width >= 28))
