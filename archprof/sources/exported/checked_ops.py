"""Which ops of a file may run on real tensors: those whose kernels check every index and size that they are given.

On meta no kernel reads or writes anything, and whatever a file names may run. On real tensors many of torch's ops trust
what autograd would give them: `max_pool2d_with_indices_backward` writes wherever its indices say.
"""

from __future__ import annotations

from typing import Any

import torch

from archprof.torchside.private import OVERLOAD
from archprof.torchside.tensors import tensors_in

CHECKED_OPS = frozenset(
    # what moves and names data
    "alias as_strided atleast_1d atleast_2d atleast_3d broadcast_tensors broadcast_to cat channel_shuffle chunk "
    "clone concat concatenate constant_pad_nd contiguous copy copy_ detach detach_ diag_embed diagonal dstack "
    "expand expand_as fill fill_ flatten flip fliplr flipud gather hstack index index_add index_add_ index_copy "
    "index_fill index_put index_put_ index_select lift_fresh lift_fresh_copy masked_fill masked_fill_ "
    "masked_scatter masked_select meshgrid moveaxis movedim mT narrow numpy_T pad permute pixel_shuffle "
    "pixel_unshuffle ravel repeat repeat_interleave reshape reshape_as roll rot90 scatter scatter_ scatter_add "
    "scatter_add_ scatter_reduce select select_scatter slice slice_scatter split split_with_sizes squeeze "
    "squeeze_ stack swapaxes swapdims t take_along_dim tensor_split tile to _to_copy transpose transpose_ tril "
    "triu type_as unbind unflatten unfold unsqueeze unsqueeze_ view view_as view_as_complex view_as_real vstack "
    "zero_ T where "
    # what makes tensors
    "arange bernoulli bernoulli_ empty empty_like empty_permuted empty_strided eye full full_like linspace "
    "logspace new_empty new_empty_strided new_full new_ones new_zeros normal_ ones ones_like one_hot rand "
    "rand_like randint randint_like randn randn_like randperm scalar_tensor tril_indices triu_indices uniform_ "
    "zeros zeros_like hann_window hamming_window "
    # what sums and sorts
    "all amax amin aminmax any argmax argmin argsort bucketize count_nonzero cummax cummin cumprod cumsum isin "
    "item kthvalue linalg_norm linalg_vector_norm _local_scalar_dense logcumsumexp logsumexp max mean median min "
    "mode msort nanmean nanmedian nansum nonzero nonzero_numpy norm prod sort std std_mean sum topk _unique2 "
    "unique_consecutive unique_dim var var_mean equal allclose is_nonzero "
    # products
    "addbmm addmm addmv baddbmm bilinear bmm cdist _cdist_forward chain_matmul cosine_similarity cross dot einsum "
    "inner kron linalg_cross linear matmul mm mv outer tensordot vdot _trilinear linalg_matmul _weight_norm "
    # layers
    "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d "
    "adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d alpha_dropout avg_pool1d avg_pool2d avg_pool3d "
    "batch_norm col2im conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution "
    "_convolution conv_tbc dropout dropout_ embedding feature_dropout _fft_c2c _fft_c2r _fft_r2c fft_fft fft_fft2 "
    "fft_ifft fft_ifft2 fft_irfft fft_irfft2 fft_rfft fft_rfft2 fft_fftn fft_ifftn _fused_rms_norm glu "
    "grid_sampler grid_sampler_2d grid_sampler_3d group_norm hardtanh im2col instance_norm layer_norm log_softmax "
    "_log_softmax max_pool1d max_pool2d max_pool2d_with_indices max_pool3d max_pool3d_with_indices "
    "max_pool1d_with_indices max_unpool2d max_unpool3d "
    "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training "
    "_native_batch_norm_legit_functional native_dropout native_group_norm native_layer_norm prelu _prelu_kernel "
    "reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d replication_pad3d "
    "rms_norm rrelu scaled_dot_product_attention softmax _softmax upsample_bicubic2d _upsample_bicubic2d_aa "
    "upsample_bilinear2d _upsample_bilinear2d_aa upsample_linear1d upsample_nearest1d upsample_nearest2d "
    "_upsample_nearest_exact1d _upsample_nearest_exact2d upsample_nearest3d upsample_trilinear3d lstm gru "
    "rnn_tanh rnn_relu "
    # losses
    "binary_cross_entropy binary_cross_entropy_with_logits cross_entropy_loss huber_loss kl_div l1_loss mse_loss "
    "nll_loss nll_loss_nd nll_loss_forward nll_loss2d_forward smooth_l1_loss sym_numel sym_size "
    "sym_storage_offset sym_stride".split()
)
"""Of `aten`. What torch tags as pointwise may run too: it indexes nothing."""

CHECKED_ELSEWHERE = frozenset(
    "prims::convert_element_type prims::iota prims::device_put torchvision::nms torchvision::roi_align".split()
)
"""Of other libraries; those of `quantized_decomposed` are written in Python, of ops of `aten`. The boxes of
`roi_align` are checked before."""


def is_on_values(args: Any, kwargs: Any) -> bool:
    """Whether an op would read or write memory: no tensor is on meta, and that decides for all."""
    return not any(tensor.is_meta for tensor in tensors_in((args, kwargs)))


def may_run_on_values(op: Any) -> bool:
    """Whether its kernels check what they are given."""
    if not isinstance(op, OVERLOAD):
        return True  # torch's functions for whole layers, and control flow
    full_name = op.name().partition(".")[0]
    library, _, name = full_name.partition("::")
    if library == "aten":
        return name in CHECKED_OPS or (torch.Tag.pointwise in op.tags and not name.endswith("backward"))
    return library == "quantized_decomposed" or full_name in CHECKED_ELSEWHERE
