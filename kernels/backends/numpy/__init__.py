"""Vectorised NumPy: im2col and BLAS for sums of products, strided views for windows.

No Python loop runs over images, channels or pixels: only over the KH×KW taps of a window, and over
chunks that keep im2col's buffer small.
"""

from kernels.backends.numpy.activation import relu, relu_backward
from kernels.backends.numpy.convolution import (
    conv2d,
    conv2d_backward_bias,
    conv2d_backward_input,
    conv2d_backward_weight,
)
from kernels.backends.numpy.dense import linear, linear_backward
from kernels.backends.numpy.fused import (
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
from kernels.backends.numpy.loss import log_softmax, softmax, softmax_cross_entropy
from kernels.backends.numpy.memory import empty
from kernels.backends.numpy.normalization import (
    batch_norm,
    batch_norm_backward,
    batch_norm_inference,
    batch_norm_inference_backward,
)
from kernels.backends.numpy.pooling import (
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
