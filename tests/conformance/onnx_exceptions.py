"""ONNX tests that are out of scope, by reason. Each is run all the same, and has to fail."""

from __future__ import annotations

_BY_REASON = {
    "three spatial axes: the package has 2-D operations": """
        test_averagepool_3d_default test_averagepool_3d_dilations_small
        test_averagepool_3d_dilations_large_count_include_pad_is_0_ceil_mode_is_True
        test_averagepool_3d_dilations_large_count_include_pad_is_0_ceil_mode_is_False
        test_averagepool_3d_dilations_large_count_include_pad_is_1_ceil_mode_is_True
        test_averagepool_3d_dilations_large_count_include_pad_is_1_ceil_mode_is_False
        test_maxpool_3d_default test_maxpool_3d_dilations test_maxpool_3d_dilations_use_ref_impl
        test_maxpool_3d_dilations_use_ref_impl_large
        test_AvgPool3d test_AvgPool3d_stride test_AvgPool3d_stride1_pad0_gpu_input
        test_Conv3d test_Conv3d_dilated test_Conv3d_dilated_strided test_Conv3d_groups
        test_Conv3d_no_bias test_Conv3d_stride test_Conv3d_stride_padding
        test_MaxPool3d test_MaxPool3d_stride test_MaxPool3d_stride_padding
    """,
    "dilated average-pooling: avg_pool2d has no dilation, as in PyTorch": """
        test_averagepool_2d_dilations
    """,
    "integer images: arrays are float32 or float64": "test_maxpool_2d_uint8",
    "flattening at another axis: cnn.Flatten keeps the first, the batch": """
        test_flatten_axis0 test_flatten_axis2 test_flatten_axis3
        test_flatten_negative_axis4 test_flatten_negative_axis2 test_flatten_negative_axis1
    """,
    "class weights: softmax_cross_entropy is the plain mean": """
        test_sce_none_weights test_sce_none_weights_log_prob
        test_sce_mean_weight test_sce_mean_weight_log_prob
        test_sce_NCd1d2d3d4d5_mean_weight test_sce_NCd1d2d3d4d5_mean_weight_log_prob
    """,
    "ignore_index: softmax_cross_entropy counts every label": """
        test_sce_mean_no_weight_ii test_sce_mean_no_weight_ii_log_prob
        test_sce_mean_no_weight_ii_3d test_sce_mean_no_weight_ii_3d_log_prob
        test_sce_mean_no_weight_ii_4d test_sce_mean_no_weight_ii_4d_log_prob
        test_sce_NCd1d2d3_none_no_weight_negative_ii
        test_sce_NCd1d2d3_none_no_weight_negative_ii_log_prob
    """,
    "class weights and ignore_index": """
        test_sce_mean_weight_ii test_sce_mean_weight_ii_log_prob
        test_sce_mean_weight_ii_3d test_sce_mean_weight_ii_3d_log_prob
        test_sce_mean_weight_ii_4d test_sce_mean_weight_ii_4d_log_prob
        test_sce_NCd1_mean_weight_negative_ii test_sce_NCd1_mean_weight_negative_ii_log_prob
        test_sce_NCd1d2d3_sum_weight_high_ii test_sce_NCd1d2d3_sum_weight_high_ii_log_prob
    """,
}

OUT_OF_SCOPE = {name: reason for reason, names in _BY_REASON.items() for name in names.split()}
