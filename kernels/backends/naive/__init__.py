"""The oracle: each operation as plain loops over indices, the definition written down.

To be read beside the formula. All arithmetic is in Python floats, that is float64, and results
are rounded once, when they are stored. Nothing here is shared with the other backends but the
output sizes in ``kernels.geometry``.
"""

from kernels.backends.naive.activation import relu, relu_backward
from kernels.backends.naive.convolution import (
    conv2d,
    conv2d_backward_bias,
    conv2d_backward_input,
    conv2d_backward_weight,
)
from kernels.backends.naive.dense import linear, linear_backward
from kernels.backends.naive.fused import (
    conv_backward,
    conv_forward,
    cross_entropy,
    elementwise,
    join_backward,
    join_forward,
    linear_update,
    norm_backward,
    norm_forward,
    norm_track,
)
from kernels.backends.naive.loss import log_softmax, softmax, softmax_cross_entropy
from kernels.backends.naive.memory import empty
from kernels.backends.naive.normalization import (
    batch_norm,
    batch_norm_backward,
    batch_norm_inference,
    batch_norm_inference_backward,
)
from kernels.backends.naive.pooling import (
    avg_pool2d,
    avg_pool2d_backward,
    global_avg_pool2d,
    global_avg_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
)

__all__ = [
    "avg_pool2d",
    "avg_pool2d_backward",
    "batch_norm",
    "batch_norm_backward",
    "batch_norm_inference",
    "batch_norm_inference_backward",
    "conv2d",
    "conv2d_backward_bias",
    "conv2d_backward_input",
    "conv2d_backward_weight",
    "conv_backward",
    "conv_forward",
    "cross_entropy",
    "elementwise",
    "empty",
    "global_avg_pool2d",
    "global_avg_pool2d_backward",
    "join_backward",
    "join_forward",
    "linear",
    "linear_backward",
    "linear_update",
    "log_softmax",
    "max_pool2d",
    "max_pool2d_backward",
    "norm_backward",
    "norm_forward",
    "norm_track",
    "relu",
    "relu_backward",
    "softmax",
    "softmax_cross_entropy",
]
