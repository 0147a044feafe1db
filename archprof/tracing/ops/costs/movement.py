"""Ops that cost nothing: they move, name, make, cast, choose or order data, and do no arithmetic.

Views, copies, casts, fills, padding, random numbers, indexing, selection (`where`, `masked_fill`), sorting and
searching, nearest interpolation, non-maximum suppression. Making a constant (a ramp, a window) costs nothing either.
An op that is not declared here and has no rule is unknown, never zero.
"""

from __future__ import annotations

from archprof.tracing.ops.costs.registry import aten_names, cost_rule, costs_nothing

VIEW_OPS = """
    view _unsafe_view _reshape_alias reshape as_strided alias detach expand permute transpose t numpy_T squeeze
    unsqueeze select slice narrow diagonal unfold unbind split split_with_sizes unsafe_split unsafe_split_with_sizes
    chunk movedim swapaxes swapdims view_as view_as_real view_as_complex real imag _conj _neg_view _indices _values
    indices values lift lift_fresh resolve_conj resolve_neg _test_autograd_multiple_dispatch_view flatten unflatten
    ravel expand_as contiguous set_data
    """
COPY_OPS = """
    clone copy _to_copy to _copy_from empty_like cat concat concatenate stack _stack hstack vstack dstack
    column_stack repeat repeat_interleave tile roll flip rot90 block_diag tril triu diag_embed diag constant_pad_nd
    pad pixel_shuffle pixel_unshuffle channel_shuffle native_channel_shuffle im2col max_unpool2d max_unpool3d
    complex reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d replication_pad3d
    upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d
    _upsample_nearest_exact3d slice_backward select_backward diagonal_backward slice_scatter select_scatter
    diagonal_scatter as_strided_scatter _pack_padded_sequence _pad_packed_sequence lift_fresh_copy resize resize_as
    set mkldnn_reorder_conv2d_weight mkldnn_reorder_conv3d_weight to_mkldnn _mkldnn_reshape _mkldnn_transpose
    _to_dense to_dense _cudnn_rnn_flatten_weight view_copy expand_copy permute_copy transpose_copy t_copy
    squeeze_copy unsqueeze_copy select_copy slice_copy split_copy split_with_sizes_copy unbind_copy unfold_copy
    as_strided_copy alias_copy detach_copy diagonal_copy view_as_real_copy view_as_complex_copy _reshape_copy
    _chunk_cat
    """
CREATION_OPS = """
    empty empty_strided empty_permuted new_empty new_empty_strided zeros zeros_like new_zeros zero ones ones_like
    new_ones full full_like new_full fill scalar_tensor arange range linspace logspace eye tril_indices triu_indices
    hann_window hamming_window blackman_window bartlett_window kaiser_window _efficientzerotensor fft_fftfreq
    fft_rfftfreq _new_zeros_with_same_feature_meta rand rand_like randn randn_like randint randint_like randperm random
    normal normal_functional uniform bernoulli multinomial exponential geometric log_normal cauchy poisson
    """
SELECTION_OPS = """
    where masked_fill masked_select masked_scatter _unsafe_index take take_along_dim index_copy index_fill one_hot
    nonzero nonzero_static all any is_nonzero isin sort argsort msort topk kthvalue median nanmedian mode
    searchsorted bucketize unique_dim unique_consecutive unique_dim_consecutive _unique _unique2
    _local_scalar_dense item _linalg_check_errors _assert_async _assert_scalar _assert_tensor_metadata histc
    bincount _is_all_true _is_any_true is_same_size _has_same_storage_numel
    """

GATHERING_OPS = "embedding index index_select gather"
"""They read of their first input only the rows that they return."""

cost_rule(*aten_names(GATHERING_OPS), gathers=True)(costs_nothing)
cost_rule(*aten_names(VIEW_OPS + COPY_OPS + CREATION_OPS + SELECTION_OPS), "torchvision.nms")(costs_nothing)
