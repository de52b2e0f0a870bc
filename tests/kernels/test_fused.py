"""The fused operations put together give what the plain ones give one after the other."""

from __future__ import annotations

import types

import numpy as np
import pytest

import kernels
from kernels import fused
from kernels.geometry import Axis, ConvGeometry, PoolGeometry
from kernels.lazy import NOWHERE, Moments, Pull, Read, Running, Sums, normalizer, pullback
from tests.kernels.broken import broken
from tests.kernels.comparing import random

EPS = 1e-5
N, C, O, H, W = 3, 2, 4, 5, 6
"""Backward to O channels, pairs of pixels share a vector in the numba backend."""
POOL = dict(stride=1, padding=1)
FIRST_TAPS = np.zeros((N, O, H, W), np.uint8)


def conv_geometry(inputs=C, outputs=O):
    return ConvGeometry(N, inputs, outputs, 1, Axis(H, 3, 1, 1, 1, 1, H), Axis(W, 3, 1, 1, 1, 1, W))


def pool_geometry():
    """3×3 with stride 1 and padding 1: windows overlap, and reach over the edges."""
    return PoolGeometry(N, O, Axis(H, 3, 1, 1, 1, 1, H), Axis(W, 3, 1, 1, 1, 1, W))


def empty(*shape, dtype="float64"):
    return np.empty(shape, dtype)


class Normalized:
    """A batch-norm's parameters, and what becomes of its gradient."""

    def __init__(self, seed, moments):
        self.weight, self.bias = random(seed, "float64", (O,), (O,))
        self.normalizer = normalizer(moments, self.weight, self.bias, EPS)

    def read(self, x, relu=False):
        _, _, scale, shift = self.normalizer
        return Read(x, self.normalizer.mean, scale, shift, relu)

    def pull(self, x, sums, g, **pooled):
        back = pullback(sums, self.weight, self.normalizer.rstd, x.size // O)
        self.grad_weight, self.grad_bias = back.grad_weight, back.grad_bias
        return Pull(g, x, self.normalizer.mean, back.a, back.b, back.c, **pooled)


def assert_close(got, wanted):
    np.testing.assert_allclose(got, wanted, rtol=1e-11, atol=1e-12)


def fused_chain(x, w1, b1, w2, grad_y, backend):
    """Twice convolution, batch-norm and ReLU, then pooling: what comes out, and all gradients."""
    g1, g2, pool = conv_geometry(), conv_geometry(O), pool_geometry()
    h1, h2, y = (empty(N, O, H, W) for _ in range(3))
    position = empty(*pool.y_shape, dtype="uint8")
    moments = fused.conv_forward(Read(x), w1, b1, g1, stats=True, out=h1, backend=backend)
    bn1 = Normalized(2, moments)
    r1 = bn1.read(h1, relu=True)
    moments = fused.conv_forward(r1, w2, None, g2, stats=True, out=h2, backend=backend)
    bn2 = Normalized(3, moments)
    r2 = (bn2.read(h2),)
    fused.join_forward(r2, True, pool, out=y, position=position, backend=backend)

    (sums,) = fused.join_backward(grad_y, position, y, r2, True, pool, out=None, backend=backend)
    pull = bn2.pull(h2, sums, grad_y, position=position, pool=pool)
    grad_h1, grad_w2, grad_x, grad_w1 = map(np.empty_like, (h1, w2, x, w1))
    out = dict(grad_x=grad_h1, grad_weight=grad_w2, grad_bias=None)
    sums = fused.conv_backward(pull, r1, w2, g2, **out, backend=backend)
    pull, grad_b1 = bn1.pull(h1, sums, grad_h1), empty(O)
    out = dict(grad_x=grad_x, grad_weight=grad_w1, grad_bias=grad_b1)
    assert fused.conv_backward(pull, Read(x), w1, g1, **out, backend=backend) is None
    return bn1, bn2, position, (y, grad_w2, grad_x, grad_w1, grad_b1)


def naive_chain(x, w1, b1, w2, grad_y, bn1, bn2):
    """The same by plain operations, and the gradients of both batch-norms."""
    with kernels.use_backend("naive"):
        h1 = kernels.conv2d(x, w1, b1, padding=1)
        n1 = kernels.batch_norm(h1, bn1.weight, bn1.bias)
        a1 = kernels.relu(n1.y)
        h2 = kernels.conv2d(a1, w2, padding=1)
        n2 = kernels.batch_norm(h2, bn2.weight, bn2.bias)
        a2 = kernels.relu(n2.y)
        pooled = kernels.max_pool2d(a2, 3, **POOL)

        grad = kernels.max_pool2d_backward(grad_y, pooled.indices, a2.shape)
        grad = kernels.relu_backward(grad, a2)
        back2 = kernels.batch_norm_backward(grad, h2, bn2.weight, n2.mean, n2.rstd)
        conv2 = kernels.conv2d_backward(back2.grad_x, a1, w2, padding=1)
        grad = kernels.relu_backward(conv2.grad_x, a1)
        back1 = kernels.batch_norm_backward(grad, h1, bn1.weight, n1.mean, n1.rstd)
        conv1 = kernels.conv2d_backward(back1.grad_x, x, w1, padding=1)
    return back1, back2, (pooled.y, conv2.grad_weight, *conv1)


def test_two_convolutions_with_batch_norm_relu_and_pool(backend):
    arrays = random(0, "float64", (N, C, H, W), (O, C, 3, 3), (O,), (O, O, 3, 3))
    (grad_y,) = random(1, "float64", pool_geometry().y_shape)
    bn1, bn2, position, got = fused_chain(*arrays, grad_y, backend)
    back1, back2, wanted = naive_chain(*arrays, grad_y, bn1, bn2)
    for one, other in zip(got, wanted, strict=True):
        assert_close(one, other)
    assert ((position == NOWHERE) == (wanted[0] == 0)).all()
    for normalized, back in ((bn1, back1), (bn2, back2)):
        assert_close(normalized.grad_weight, back.grad_weight)
        assert_close(normalized.grad_bias, back.grad_bias)


def test_a_residual_block(backend):
    """``relu(bn(conv(x)) + x)``; the gradient of x comes from both ways."""
    x, weight = random(0, "float64", (N, O, H, W), (O, O, 3, 3))
    geometry = conv_geometry(O)
    (grad_y,) = random(1, "float64", x.shape)

    h, y, masked, grad_x, grad_weight = map(np.empty_like, (x, x, x, x, weight))
    moments = fused.conv_forward(
        Read(x), weight, None, geometry, stats=True, out=h, backend=backend
    )
    bn = Normalized(2, moments)
    reads = (bn.read(h), Read(x))
    fused.join_forward(reads, True, None, out=y, position=None, backend=backend)
    sums, nothing = fused.join_backward(
        grad_y, None, y, reads, True, None, out=masked, backend=backend
    )
    assert nothing is None
    fused.conv_backward(
        bn.pull(h, sums, masked),
        Read(x),
        weight,
        geometry,
        add=masked,
        grad_x=grad_x,
        grad_weight=grad_weight,
        grad_bias=None,
        backend=backend,
    )

    with kernels.use_backend("naive"):
        convolved = kernels.conv2d(x, weight, padding=1)
        normalized = kernels.batch_norm(convolved, bn.weight, bn.bias)
        wanted_y = kernels.relu(normalized.y + x)
        skip = kernels.relu_backward(grad_y, wanted_y)
        back = kernels.batch_norm_backward(
            skip, convolved, bn.weight, normalized.mean, normalized.rstd
        )
        conv = kernels.conv2d_backward(back.grad_x, x, weight, padding=1)
    assert_close(y, wanted_y)
    assert_close(grad_weight, conv.grad_weight)
    assert_close(bn.grad_weight, back.grad_weight)
    assert_close(grad_x, conv.grad_x + skip)


def test_moments_of_a_large_mean(backend):
    """float32, mean 1e4, std 1: the variance is good to 1e-3, not 0."""
    (x,) = random(0, "float32", (4, O, H, W))
    x += np.float32(1e4)
    weight = np.eye(O, dtype="float32").reshape(O, O, 1, 1)
    geometry = ConvGeometry(4, O, O, 1, Axis(H, 1, 1, 1, 0, 0, H), Axis(W, 1, 1, 1, 0, 0, W))
    moments = fused.conv_forward(
        Read(x), weight, None, geometry, stats=True, out=np.empty_like(x), backend=backend
    )
    exact = x.astype("float64")
    np.testing.assert_allclose(moments.mean, exact.mean(axis=(0, 2, 3)), rtol=1e-7)
    np.testing.assert_allclose(moments.var, exact.var(axis=(0, 2, 3)), rtol=1e-3)
    assert moments.mean.dtype == moments.var.dtype == np.float64


def test_the_means_rounding_goes_into_the_shift():
    weight, bias = np.ones(1, "float32"), np.zeros(1, "float32")
    mean = np.array([1e4 + 1 / 3])
    got = normalizer(Moments(mean, np.array([1.0])), weight, bias, 0.0)
    assert got.mean.dtype == got.scale.dtype == got.shift.dtype == np.float32
    assert got.shift[0] == pytest.approx(float(got.mean[0]) - mean[0], rel=1e-3)


def test_a_variance_of_zero_divides_without_a_warning():
    one = np.ones(1)
    assert normalizer(Moments(one, 0 * one), one, one, 0.0).rstd[0] == np.inf


def test_backends_without_fused_operations_register(monkeypatch):
    monkeypatch.setattr("kernels.dispatch._registered", {})
    kernels.register_backend("plain", broken())
    assert not fused.offered("plain")
    assert not fused.gains("plain")
    assert not fused.gains("numpy")  # a composition
    assert all(fused.offered(name) for name in ("naive", "numpy", "numba"))
    reads = (Read(np.ones((2, 1))),)
    with pytest.raises(TypeError, match="backend 'plain' has no fused operations"):
        fused.join_forward(reads, True, None, out=np.ones((2, 1)), position=None, backend="plain")
    assert kernels.check_backend("plain", cases=1).passed


def test_some_fused_operations_are_not_enough():
    module = broken()
    module.join_forward = kernels.relu
    with pytest.raises(TypeError, match="'x' must have a function conv_forward"):
        kernels.register_backend("x", module)


def join(*reads, relu=True, pool=None, out=None, position=None):
    out = np.empty((2, 3)) if out is None else out
    fused.join_forward(reads, relu, pool, out=out, position=position, backend="naive")


X, CHANNEL = np.ones((2, 3)), np.ones(3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: join(), "reads must hold one or more, got none"),
        (lambda: join(Read(X), Read(X[:1])), r"reads\[1\] must be of shape \(2, 3\), got \(1, 3\)"),
        (lambda: join(Read(X), Read(X.astype("f4"))), r"reads\[1\] must be of float64"),
        (lambda: join(Read(X, relu=True)), "must have no ReLU of its own"),
        (lambda: join(Read(X, CHANNEL, CHANNEL)), "all of its numbers per channel, or none"),
        (lambda: join(Read(X, *3 * [CHANNEL[:2]])), r"must have shape \(3,\), got \(2,\)"),
        (lambda: join(Read(X), out=np.ones((2, 2))), r"out must have shape \(2, 3\)"),
        (lambda: join(Read(X), position=X), "position must be None without a pool"),
        (
            lambda: fused.join_backward(
                X, None, X, (Read(X),), False, None, out=X, backend="naive"
            ),
            "out must be an array with ReLU and without pooling, else None",
        ),
        (lambda: pooled_backward(None, out=None), "position must be an array with a pool"),
        (
            lambda: pooled_backward(position=np.zeros((N, O, H, W), np.uint8), out=X),
            "out must be an array with ReLU and without pooling, else None",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises((kernels.ShapeError, TypeError), match=message):
        call()


def pooled_backward(position, out):
    grad, pool = np.ones((N, O, H, W)), pool_geometry()
    fused.join_backward(grad, position, grad, (Read(grad),), True, pool, out=out, backend="naive")


def test_a_convolutions_arguments_are_checked():
    x, weight, y = np.ones((N, C, H, W)), np.ones((O, C, 3, 3)), np.ones((N, O, H, W))
    geometry = conv_geometry()
    forward = types.SimpleNamespace(stats=False, out=y, backend="naive")
    for read, w, bias, message in (
        (Read(x[:1]), weight, None, "read must be of shape"),
        (Read(x), weight[:1], None, "weight must have shape"),
        (Read(x), weight, CHANNEL, "bias must have shape"),
    ):
        with pytest.raises(kernels.ShapeError, match=message):
            fused.conv_forward(read, w, bias, geometry, **vars(forward))
    gradients = dict(grad_x=None, grad_weight=weight, grad_bias=None, backend="naive")
    for pull, message in (
        (Pull(y[:1]), "pull's g must have shape"),
        (Pull(y, y), "pull must have mean, a, b and c"),
        (Pull(y, y, *4 * [CHANNEL]), "numbers per channel must have shape"),
        (Pull(y[:, :, :3, :3], pool=pool_geometry()), "pull's g must have shape"),
        (Pull(y, pool=pool_geometry()), "pull must have positions"),
    ):
        with pytest.raises(kernels.ShapeError, match=message):
            fused.conv_backward(pull, Read(x), weight, geometry, **gradients)


def test_pullback_is_batch_norms_gradient():
    x, weight, grad = random(0, "float64", (N, O, H, W), (O,), (N, O, H, W))
    result = kernels.batch_norm(x, weight, np.zeros(O), backend="naive")
    centred = x - result.mean[:, None, None]
    sums = Sums(grad.sum(axis=(0, 2, 3)), (grad * centred).sum(axis=(0, 2, 3)))
    back = pullback(sums, weight, result.rstd, x.size // O)
    wanted = kernels.batch_norm_backward(grad, x, weight, result.mean, result.rstd, backend="naive")
    a, b, c = (part[:, None, None] for part in back[:3])
    assert_close(a * grad + b * centred + c, wanted.grad_x)
    assert_close(back.grad_weight, wanted.grad_weight)
    assert_close(back.grad_bias, wanted.grad_bias)


def test_norms_arguments_are_checked():
    moments, rstd, out = Moments(CHANNEL, CHANNEL), np.ones(3), np.ones((4, 3))
    narrow = CHANNEL.astype("float32")
    running = Running(CHANNEL, CHANNEL, np.array(0))
    settings = (1e-5, 7, 0.1)
    for call, message in (
        (lambda: norm_forward(moments, rstd=rstd, out=out), r"out must have shape \(3, 3\)"),
        (lambda: norm_forward(Moments(CHANNEL, narrow), rstd=rstd, out=out[:3]), "var must be of"),
        (lambda: norm_forward(moments, rstd=rstd[:2], out=out[:3]), "rstd must have shape"),
        (lambda: norm_forward(moments, rstd=rstd, out=np.ones((3, 6))[:, ::2]), "C-contiguous"),
        (lambda: norm_backward(Sums(rstd, narrow), out=out), "sums.grad_x must be of float64"),
        (lambda: norm_backward(Sums(rstd, rstd), out=out[:3]), r"out must have shape \(4, 3\)"),
        (lambda: fused.norm_track(CHANNEL, narrow, *settings, running=running), "rstd must be of"),
        (lambda: fused.norm_track(narrow, rstd, *settings, running=running), "running.mean must"),
        (lambda: fused.norm_track(rstd, rstd, 1e-5, 1, 0.1, running=running), "count must be"),
        (lambda: fused.norm_track(rstd, rstd, 1e-5, 7, 1.5, running=running), "momentum must be"),
    ):
        with pytest.raises((kernels.ShapeError, TypeError), match=message):
            call()


def norm_forward(moments, **results):
    fused.norm_forward(moments, CHANNEL, CHANNEL, 1e-5, **results, backend="naive")


def norm_backward(sums, out):
    gradients = {"grad_weight": np.ones(3), "grad_bias": np.ones(3)}
    fused.norm_backward(sums, *3 * [CHANNEL], 7, out=out, **gradients, backend="naive")


@pytest.mark.parametrize("eps", [0, 1])
def test_norms_of_a_constant_channel(backend, eps):
    """An infinite scale, and an eps that is an integer."""
    moments = Moments(np.array([0.1, 3.0]), np.array([0.0, 4.0]))
    rstd, out = np.empty(2), np.empty((3, 2), "float32")
    one = np.ones(2, "float32")
    with np.errstate(divide="ignore", invalid="ignore"):
        fused.norm_forward(moments, one, 0 * one, eps, rstd=rstd, out=out, backend=backend)
    wanted = [np.inf if eps == 0 else 1.0, 1 / np.sqrt(4 + eps)]
    np.testing.assert_allclose(rstd, wanted, rtol=1e-15)
    np.testing.assert_array_equal(out[:2], np.array([moments.mean, wanted], "float32"))
    assert out[2, 1] == 0


def test_rows_losses_have_the_mean_and_gradient_of_the_plain_loss(backend, dtype):
    (logits,) = random(0, dtype, (5, 7))
    labels, losses, grad = np.array([0, 6, 3, 3, 1]), np.empty(5), np.empty_like(logits)
    fused.cross_entropy(logits, labels, losses=losses, grad_logits=grad, backend=backend)
    wanted = kernels.softmax_cross_entropy(logits, labels, backend="naive")
    assert losses.mean() == pytest.approx(wanted.mean_loss, rel=1e-5)
    np.testing.assert_allclose(grad, wanted.grad_logits, rtol=1e-5, atol=1e-6)
    alone = kernels.softmax_cross_entropy(logits[1:2], labels[1:2], backend="naive")
    assert losses[1] == pytest.approx(alone.mean_loss, rel=1e-5)


def test_a_losss_arguments_are_checked():
    good = {"logits": np.ones((4, 3)), "labels": np.array([0, 1, 2, 0])}
    good |= {"losses": np.ones(4), "grad_logits": np.ones((4, 3))}
    for change, message in (
        ({"logits": np.ones(4)}, "logits must have 2 dimensions"),
        ({"logits": np.ones((0, 3))}, "logits must have 1 or more rows and columns"),
        ({"labels": np.array([0, 1, 3, 0])}, "labels must be from 0 to 2"),
        ({"labels": np.array([0, 1, 2, 0], np.int32)}, "labels must be of int64"),
        ({"labels": (np.arange(8) % 3)[::2]}, "labels must be C-contiguous"),
        ({"losses": np.ones(3)}, r"losses must have shape \(4,\)"),
        ({"grad_logits": np.ones((4, 3), "float32")}, "grad_logits must be of float64"),
    ):
        arguments = good | change
        with pytest.raises((kernels.ShapeError, TypeError), match=message):
            fused.cross_entropy(
                arguments.pop("logits"), arguments.pop("labels"), **arguments, backend="naive"
            )


def test_an_empty_batch_gives_gradients_of_zero(backend):
    x, y = np.ones((0, C, H, W)), np.ones((0, O, H, W))
    weight = np.ones((O, C, 3, 3))
    axes = (Axis(H, 3, 1, 1, 1, 1, H), Axis(W, 3, 1, 1, 1, 1, W))
    geometry = ConvGeometry(0, C, O, 1, *axes)
    grads = np.full_like(weight, 7), np.full(O, 7.0)
    fused.conv_backward(
        *(Pull(y), Read(x), weight, geometry),
        grad_x=np.empty_like(x),
        grad_weight=grads[0],
        grad_bias=grads[1],
        backend=backend,
    )
    assert not any(grad.any() for grad in grads)
