"""The FLOPs of everything that is no matrix product: small calls worked by hand from the stated rules."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from archprof.tracing.ops.costs import find_cost_rule

F = functional
LONG = {"dtype": torch.int64}


def flops_of(calls):
    counts = [call.count() for call in calls]
    assert None not in counts, [call.name for call in calls]
    assert all(count.macs == 0 for count in counts)
    return sum(count.flops for count in counts)


@pytest.mark.parametrize(
    ("make", "flops"),
    [
        # pointwise: one per output element, broadcast included
        (lambda t: t(2, 3) + t(4, 1, 3), 24),
        (lambda t: torch.add(t(2, 3), t(2, 3), alpha=2), 6),
        (lambda t: t(2, 3).relu_(), 6),
        (lambda t: t(2, 3) > 0, 6),
        (lambda t: torch.addcmul(t(6), t(6), t(6), value=2), 6),
        (lambda t: F.gelu(t(2, 3)), 6),
        (lambda t: F.glu(t(2, 6)), 12),
        (lambda t: F.prelu(t(2, 3), t(3)), 6),
        (lambda t: F.softplus(t(6)), 6),
        (lambda t: torch.polar(t(6), t(6)), 6),
        # integers and bools are not floating-point
        (lambda t: t(2, 3, **LONG) + 1, 0),
        (lambda t: t(2, 3, **LONG) > 1, 0),
        (lambda t: t(2, 3, **LONG) / 2, 6),
        (lambda t: t(2, 3, **LONG).sum(), 0),
        (lambda t: ~t(3, dtype=torch.bool), 0),
        # moved, chosen, ordered
        (lambda t: torch.where(t(6, dtype=torch.bool), t(6), t(6)), 0),
        (lambda t: t(6).masked_fill(t(6, dtype=torch.bool), 0.0), 0),
        (lambda t: torch.cat([t(2, 3), t(1, 3)]).t().contiguous().half(), 0),
        (lambda t: t(6).sort(), 0),
        (lambda t: t(6).topk(2), 0),
        (lambda t: F.embedding(t(2, 3, **LONG), t(9, 4)), 0),
        (lambda t: F.pixel_shuffle(t(1, 4, 2, 2), 2), 0),
        (lambda t: F.unfold(t(1, 2, 4, 4), 2), 0),
        (lambda t: F.pad(t(2, 2, 4), (1, 1), mode="reflect"), 0),
        # reductions from 24 to 6
        (lambda t: t(4, 6).sum(0), 18),
        (lambda t: t(4, 6).amax(0), 18),
        (lambda t: t(4, 6).max(0), 18),
        (lambda t: t(4, 6).max(), 23),
        (lambda t: t(4, 6).argmax(0), 18),
        (lambda t: t(4, 6).mean(0), 24),
        (lambda t: t(4, 6).var(0), 96),
        (lambda t: t(4, 6).std(0), 96 + 6),
        (lambda t: torch.linalg.vector_norm(t(4, 6), dim=0), 48),
        (lambda t: torch.logsumexp(t(4, 6), 0), 96),
        (lambda t: t(4, 6).cumsum(0), 24),
        (lambda t: t(4, 6).softmax(0), 120),
        (lambda t: t(4, 6).log_softmax(0), 120),
        (lambda t: t(4, 6).trace(), 3),
        (lambda t: t(4, 6).any(), 0),
        # norms of 48 elements
        (lambda t: F.batch_norm(t(2, 3, 8), t(3), t(3), t(3), t(3)), 96),
        (lambda t: F.batch_norm(t(2, 3, 8), t(3), t(3), t(3), t(3), training=True), 7 * 48),
        (lambda t: F.batch_norm(t(2, 3, 8), None, None, training=True), 5 * 48),
        (lambda t: F.layer_norm(t(2, 3, 8), (8,), t(8), t(8)), 7 * 48),
        (lambda t: F.layer_norm(t(2, 3, 8), (8,), t(8)), 6 * 48),
        (lambda t: F.layer_norm(t(2, 3, 8), (8,)), 5 * 48),
        (lambda t: F.group_norm(t(2, 4, 6), 2, t(4), t(4)), 7 * 48),
        (lambda t: F.instance_norm(t(2, 3, 8)), 5 * 48),
        # pooling
        (lambda t: F.max_pool2d(t(1, 2, 6, 6), 3, 2, 1), 2 * 9 * 8),
        (lambda t: F.avg_pool2d(t(1, 2, 6, 6), 3, 2, 1), 2 * 9 * 9),
        (lambda t: F.avg_pool3d(t(1, 1, 4, 4, 4), 2), 8 * 8),
        (lambda t: F.fractional_max_pool2d(t(1, 2, 9, 9), 2, 3, _random_samples=t(1, 2, 2)), 2 * 9 * 3),
        # interpolation: 2^d multiplies and 2^d - 1 adds
        (lambda t: F.interpolate(t(1, 2, 4), 8, mode="linear"), 16 * 3),
        (lambda t: F.interpolate(t(1, 2, 4, 4), 8, mode="bilinear"), 128 * 7),
        (lambda t: F.interpolate(t(1, 1, 2, 2, 2), 4, mode="trilinear"), 64 * 15),
        (lambda t: F.interpolate(t(1, 2, 4, 4), 8, mode="bicubic"), 128 * 31),
        (lambda t: F.interpolate(t(1, 2, 4, 4), 8), 0),
        (lambda t: F.grid_sample(t(1, 2, 4, 4), t(1, 3, 3, 2), align_corners=False), 18 * 7 + 18 * 2),
        (lambda t: F.grid_sample(t(1, 2, 4, 4), t(1, 3, 3, 2), mode="nearest", align_corners=False), 18 * 2),
        # Fourier: 5 N log2 N, half for real input
        (lambda t: torch.fft.fft(t(3, 8, dtype=torch.complex64)), 3 * 5 * 8 * 3),
        (lambda t: torch.fft.rfft(t(3, 8)), 3 * 5 * 8 * 3 // 2),
        (lambda t: torch.fft.irfft(t(3, 5, dtype=torch.complex64)), 3 * 5 * 8 * 3 // 2),
        (lambda t: torch.fft.fft2(t(4, 8, dtype=torch.complex64)), 5 * 32 * 5),
        (lambda t: torch.fft.fft(t(3, 1, dtype=torch.complex64)), 0),
        # adding what is moved
        (lambda t: F.fold(t(1, 8, 9), (4, 4), 2), 72),
        (lambda t: t(4, 3).index_add(0, t(2, **LONG), t(2, 3)), 6),
        (lambda t: t(4, 3).scatter_add(0, t(2, 3, **LONG), t(2, 3)), 6),
        (lambda t: t(4, 3).scatter(0, t(2, 3, **LONG), t(2, 3)), 0),
        (lambda t: t(4, 3).scatter_reduce(0, t(2, 3, **LONG), t(2, 3), "sum"), 6),
        (lambda t: t(4, 3).index_put((t(2, **LONG),), t(2, 3), accumulate=True), 6),
        (lambda t: t(4, 3).index_put((t(2, **LONG),), t(2, 3)), 0),
        (lambda t: F.embedding_bag(t(2, 5, **LONG), t(9, 4)), 40),
        (lambda t: F.embedding_bag(t(2, 5, **LONG), t(9, 4), mode="sum"), 32),
        # losses and distances
        (lambda t: F.mse_loss(t(2, 3), t(2, 3)), 18),
        (lambda t: F.mse_loss(t(2, 3), t(2, 3), reduction="none"), 12),
        (lambda t: F.smooth_l1_loss(t(2, 3), t(2, 3)), 30),
        (lambda t: F.cross_entropy(t(4, 6), t(4, **LONG)), 120 + 8),
        (lambda t: F.binary_cross_entropy(t(6), t(6)), 48),
        (lambda t: F.binary_cross_entropy_with_logits(t(6), t(6), pos_weight=t(6)), 36),
        (lambda t: torch.ops.aten._cdist_forward(t(3, 4), t(5, 4), 2.0, None), 15 * 13),
    ],
)  # fmt: skip
def test_by_hand(dispatched, meta, make, flops):
    assert flops_of(dispatched(lambda: make(meta))) == flops


@pytest.mark.parametrize(
    ("name", "make", "flops"),
    [
        ("threshold_backward", lambda x: x.relu(), 6),
        ("gelu_backward", F.gelu, 12),
        ("sigmoid_backward", torch.sigmoid, 12),
        ("_softmax_backward_data", lambda x: x.softmax(1), 24),
        ("native_batch_norm_backward", lambda x: F.batch_norm(x, None, None, x[0], x[0], training=True), 2 * 7 * 6),
        ("native_layer_norm_backward", lambda x: F.layer_norm(x, (3,), x[0]), 2 * 6 * 6),
        ("max_pool2d_with_indices_backward", lambda x: F.max_pool2d(x[None], (1, 2), 1), 4),
        ("avg_pool2d_backward", lambda x: F.avg_pool2d(x[None], (1, 2), 1), 8),
        ("_adaptive_avg_pool2d_backward", lambda x: F.adaptive_avg_pool2d(x[None], (1, 2)), 8),
        ("reflection_pad1d_backward", lambda x: F.pad(x, (1, 1), mode="reflect"), 10),
        ("upsample_linear1d_backward", lambda x: F.interpolate(x[None], 6, mode="linear"), 2 * 6 * 3),
        ("upsample_nearest1d_backward", lambda x: F.interpolate(x[None], 6), 12),
        ("mse_loss_backward", lambda x: F.mse_loss(x, x.detach()), 12),
    ],
)  # fmt: skip
def test_backward_by_hand(dispatched, meta, name, make, flops):
    x = meta(2, 3, requires_grad=True)
    [call] = dispatched(lambda: make(x * 1).sum().backward(), f"aten.{name}")
    assert call.count()[:2] == (0, flops)


def test_batch_norm_backward_has_the_weight_that_the_forward_had(dispatched, meta):
    x, weight = meta(4, 3, requires_grad=True), meta(3, requires_grad=True)

    def run(training):
        F.batch_norm(
            x, weight[0:3].detach() * 0, weight[0:3].detach() * 0 + 1, weight, weight, training
        ).sum().backward()

    [training] = dispatched(lambda: run(True), "aten.native_batch_norm_backward")
    [evaluating] = dispatched(lambda: run(False), "aten.native_batch_norm_backward")
    assert training.count().flops == 2 * 7 * 12
    assert evaluating.count().flops == 2 * 2 * 12


def test_fused_root_mean_square_norm_is_taken_apart_but_for_its_work_once_a_row(dispatched, meta):
    x, weight = meta(2, 3, 8), meta(8)
    fused = find_cost_rule("aten._fused_rms_norm")
    assert (fused(None, x, (8,), weight).flops, fused(None, x, (8,), None).flops) == (4 * 48, 3 * 48)
    rows = 2 * 3
    assert flops_of(dispatched(lambda: F.rms_norm(x, (8,), weight))) - 4 * 48 == 2 * rows  # add eps, reciprocal root
    assert (
        find_cost_rule("aten._fused_rms_norm_backward")(None, x, x, (8,), x, weight, [True, True]).flops == 2 * 4 * 48
    )


def test_dropout_is_the_same_fused_and_taken_apart(dispatched, meta):
    x = meta(2, 3, requires_grad=True)
    apart = flops_of(dispatched(lambda: F.dropout(x.detach())))
    fused = find_cost_rule("aten.native_dropout")
    assert apart == fused(None, x, 0.5, True).flops == 12
    assert fused(None, x, 0.5, False).flops == 0


@given(sizes=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=3))
def test_adaptive_pooling_counts_every_window(dispatched, meta, sizes):
    """The windows are found by running torch on data: input i is in window o when the gradient says so."""
    dims = len(sizes)
    size, out = zip(*sizes, strict=True)
    seen = 1
    for length, outputs in sizes:
        line = torch.zeros(1, 1, length, requires_grad=True)
        pooled = F.adaptive_avg_pool1d(line, outputs)
        rows = [torch.autograd.grad(pooled[0, 0, o], line, retain_graph=True)[0] for o in range(outputs)]
        seen *= sum(int((row != 0).sum()) for row in rows)
    average = [F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d][dims - 1]
    maximum = [F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d][dims - 1]
    outputs = 2 * torch.Size(out).numel()
    assert flops_of(dispatched(lambda: average(meta(1, 2, *size), out))) == 2 * seen
    assert flops_of(dispatched(lambda: maximum(meta(1, 2, *size), out))) == 2 * seen - outputs


def test_windows_of_pooling(dispatched, meta):
    [call] = dispatched(lambda: F.max_pool2d(meta(1, 1, 9, 9), 3), "aten.max_pool2d_with_indices")
    assert call.count().window == ((3, 3), (3, 3), (0, 0), (1, 1), 1, False)
    [call] = dispatched(lambda: F.max_pool2d(meta(1, 1, 9, 9), (3, 2), 2, 1), "aten.max_pool2d_with_indices")
    assert call.count().window == ((3, 2), (2, 2), (1, 1), (1, 1), 1, False)
    [call] = dispatched(lambda: F.adaptive_avg_pool2d(meta(1, 1, 8, 9), (4, 3)), "aten._adaptive_avg_pool2d")
    assert call.count().window == ((2, 3), (2, 3), (0, 0), (1, 1), 1, False)
    [call] = dispatched(lambda: F.adaptive_avg_pool2d(meta(1, 1, 8, 9), (3, 3)), "aten._adaptive_avg_pool2d")
    assert call.count().window is None


def test_maximum_of_two_tensors_under_inference_mode_is_pointwise(dispatched, meta):
    a, b = meta(2, 3), meta(2, 3)
    with torch.inference_mode():
        assert flops_of(dispatched(lambda: torch.max(a, b))) == 6


def test_affine_grid_is_a_product(dispatched, meta):
    counts = [c.count() for c in dispatched(lambda: F.affine_grid(meta(2, 2, 3), (2, 3, 4, 5), align_corners=False))]
    assert sum(count.macs for count in counts) == 2 * 4 * 5 * 2 * 3


def test_euclidean_distance_by_product(dispatched, meta):
    """30 x 30 pairs of length 4: products; two adds, a clamp and a root a pair; squares summed a vector."""
    [call] = dispatched(lambda: torch._euclidean_dist(meta(30, 4), meta(30, 4)), "aten._euclidean_dist")[-1:]
    assert call.count()[:2] == (3600, 7200 + 4 * 900 + 2 * 240)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("old", "new"), [((11, 9), (4, 4)), ((9, 4), (4, 13)), ((4, 11), (13, 4))])
def test_antialiased_interpolation_is_two_passes_over_what_torch_reads(dispatched, meta, mode, old, new):
    def read(size: int, wanted: int) -> int:
        """Elements that torch's own filter weighs along one line, seen by what each unit vector gives.

        Of these sizes no pixel falls on a zero of the filter, where it would be read and not seen.
        """
        lines = torch.eye(size, dtype=torch.float64)[None, :, None, :].expand(1, size, 3, size)
        made = F.interpolate(lines, (3, wanted), mode=mode, antialias=True)
        return int((made[0, :, 1] != 0).sum())

    across = old[0] * (2 * read(old[1], new[1]) - new[1])
    down = new[1] * (2 * read(old[0], new[0]) - new[0])
    (call,) = dispatched(
        lambda: F.interpolate(meta(2, 3, *old), new, mode=mode, antialias=True), f"aten._upsample_{mode}2d_aa"
    )
    assert call.count()[:2] == (0, 6 * (across + down))


def test_antialiased_interpolation_from_corner_to_corner_is_unknown(dispatched, meta):
    calls = dispatched(lambda: F.interpolate(meta(1, 1, 8, 8), 4, mode="bilinear", antialias=True, align_corners=True))
    assert any(call.count() is None for call in calls)


def test_the_same_op_costs_the_same_whatever_its_float_type(dispatched, meta):
    types = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
    totals = {flops_of(dispatched(lambda t=t: meta(2, 3, dtype=t).softmax(0).sum())) for t in types}
    assert totals == {30 + 5}
    assert list(itertools.chain(totals)) == [35]
