"""Fused training and prediction are those of the layers one by one; what is fused, and when."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import cnn
import kernels
from cnn.fusion import passes, program
from cnn.fusion.inference import PART_BYTES
from cnn.fusion.programs import Programs
from kernels.capturing import Capture, capture
from tests.cnn.fusing import FAST, MODELS, trainers
from tests.cnn.networks import batch, build
from tests.cnn.toys import small_net, stripes
from tests.kernels import broken


def assert_same_gradients(one: cnn.Sequential, other: cnn.Sequential, tolerance: float) -> None:
    """Compare on the scale of the largest gradient: a bias before batch-norm has none."""
    grads = [{n: p.grad for n, p in m.named_parameters().items()} for m in (one, other)]
    largest = max(float(abs(g).max()) for g in grads[1].values())
    for name, grad in grads[0].items():
        np.testing.assert_allclose(
            grad, grads[1][name], rtol=0, atol=tolerance * largest, err_msg=name
        )


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("name", MODELS)
def test_fused_and_unfused_training_agree(name: str, backend: str) -> None:
    """Losses, the first step's gradients, all state, then predictions."""
    fused, unfused, image = trainers(name, backend, optimizer=cnn.optim.SGD(0.05, 0.9))
    for step in range(5):
        x, y = batch(image, 5 if step != 2 else 3, seed=step)  # a smaller batch in between
        assert fused.step(x, y) == pytest.approx(unfused.step(x, y), rel=0, abs=1e-9)
        if step == 0:
            assert_same_gradients(fused.model, unfused.model, 1e-10)
    for key, array in fused.model.state_dict().items():
        np.testing.assert_allclose(array, unfused.model.state_dict()[key], atol=1e-9, err_msg=key)
    data = batch(image, 7, seed=9)
    assert fused.evaluate(data, 3) == pytest.approx(unfused.evaluate(data, 7), abs=1e-9)


@pytest.mark.parametrize("backend", FAST)
def test_pooling_in_front_of_weights_of_zero(backend: str) -> None:
    """Where batch-norm makes all values the same, the first of a window has the gradient."""
    fused, unfused, image = trainers("pooled_convolutions", backend)
    for trainer in (fused, unfused):
        for layer in trainer.model.layers:
            if isinstance(layer, cnn.BatchNorm2d):
                layer.weight.data[::2], layer.bias.data[:] = 0, 0.1
        trainer.step(*batch(image))
    assert_same_gradients(fused.model, unfused.model, 1e-10)


@pytest.mark.parametrize("name", ["mnist_cnn", "no_batch_norm", "depthwise", "residuals"])
def test_networks_are_captured_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In training both ways, and in prediction."""
    captures = []

    def recorded(function: Callable[[], object], *, steady: bool) -> Capture | None:
        captures.append(capture(function, steady=steady))
        return captures[-1]

    monkeypatch.setattr(passes, "capture", recorded)
    fused, _, image = trainers(name, "numba")
    for _ in range(3):
        fused.step(*batch(image))
        fused.evaluate(batch(image), 5)
    assert len(captures) >= 3
    assert None not in captures
    if name in ("mnist_cnn", "no_batch_norm"):  # one call of compiled code for each pass of a step
        assert [len(each.steps) for each in captures[:2]] == [1, 1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mnist_cnn", "lenet5", "resnet20"])
def test_fifty_steps_agree(name: str) -> None:
    fused, unfused, image = trainers(name, "numpy")
    for step in range(50):
        x, y = batch(image, 4, seed=step)
        assert fused.step(x, y) == pytest.approx(unfused.step(x, y), rel=0, abs=1e-9)


def test_naive_composition_trains_as_its_layers() -> None:
    fused, unfused = (cnn.Trainer(small_net(), backend="naive", fuse=f) for f in (True, False))
    for _ in range(2):
        losses = [trainer.step(*stripes(4)) for trainer in (fused, unfused)]
        assert losses[0] == pytest.approx(losses[1], abs=1e-12)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("name", ["mnist_cnn", "residuals"])
def test_float32_gradients_of_one_step(name: str, backend: str) -> None:
    """Within 2e-5 of each tensor's scale; biases before batch-norm, which have none, left out."""
    fused, unfused, image = trainers(name, backend, "float32")
    x, y = batch(image, 6)
    for trainer in (fused, unfused):
        trainer.step(x.astype("float32"), y)
    others = unfused.model.named_parameters()
    for key, parameter in fused.model.named_parameters().items():
        wanted = others[key].grad
        assert parameter.grad is not None
        assert wanted is not None
        if abs(wanted).max() > 1e-4:
            np.testing.assert_allclose(
                parameter.grad, wanted, rtol=0, atol=2e-5 * abs(wanted).max(), err_msg=key
            )


def kinds(model: cnn.Sequential, image: tuple[int, ...], *, training: bool = True) -> list[str]:
    x = np.empty((2, *image), model.dtype)
    with kernels.use_backend("numpy"), Programs(model, training=training).running(x) as p:
        return [type(stage).__name__.removesuffix("Stage") for stage in p.stages]


def test_what_is_fused_in_known_networks() -> None:
    mnist = ["Conv", "Conv", "Join", "Flatten", "Linear", "Norm", "Join", "Linear"]
    assert kinds(*build("mnist_cnn")) == mnist
    resnet = kinds(*build("resnet20"))
    assert resnet[:5] == ["Conv", "Join", "Conv", "Conv", "Join"]
    assert resnet.count("Conv") == 19
    assert resnet.count("Join") == 10  # the first, and one for each of nine blocks
    assert resnet.count("Shortcut") == 2
    pooled = kinds(*build("pooled_convolutions"))
    assert pooled.count("MaxPool") == 0
    assert pooled[:3] == ["Conv", "Conv", "Join"]  # which is where the residual begins
    assert pooled[-3:] == ["Join", "Flatten", "Linear"]
    lenet = ["Conv", "Join", "AvgPool"] * 2 + ["Flatten"] + ["Linear", "Join"] * 2 + ["Linear"]
    assert kinds(*build("lenet5")) == lenet


def test_prediction_computes_no_batch_norm_by_itself() -> None:
    for name in MODELS:
        assert "Norm" not in kinds(*build(name), training=False)


def test_many_images_are_predicted_in_parts() -> None:
    """Each image as if it were alone, and in its place."""
    model = cnn.models.lenet5((1, 64, 64), 3)
    x = np.random.default_rng(0).standard_normal((41, 1, 64, 64)).astype("float32")
    with kernels.use_backend("numpy"), Programs(model, training=False).running(x) as whole:
        assert whole.size > PART_BYTES
        (together,) = model.outputs([x], fuse=True)
        alone = model.outputs(np.split(x, 41), fuse=True)
    np.testing.assert_allclose(together, np.concatenate(alone), rtol=1e-4, atol=1e-5)


def test_layers_of_other_classes_run_by_themselves(fusing: str) -> None:
    class LoudReLU(cnn.ReLU):
        def forward(self, x: np.ndarray, *, training: bool) -> np.ndarray:
            return 2 * super().forward(x, training=training)

    model = cnn.Sequential(cnn.Flatten(), LoudReLU())
    logits = np.array([[0.5, -1.0]])
    assert model.predict_proba(logits) == pytest.approx(kernels.softmax(np.array([[1.0, 0.0]])))


def test_a_model_of_another_class_is_left_alone(fusing: str) -> None:
    class Doubled(cnn.Sequential):
        def forward(self, x: np.ndarray, *, training: bool) -> np.ndarray:
            return 2 * super().forward(x, training=training)

    layers = small_net().layers
    x, y = stripes(6)
    plain, doubled = (cnn.Trainer(m(*layers), fuse=True) for m in (cnn.Sequential, Doubled))
    assert plain.evaluate((x, y))["loss"] != doubled.evaluate((x, y))["loss"]


def test_fusion_is_chosen_where_it_gains(fusing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A composition is used only if it is asked for."""
    used = []

    def recording(method: Callable[..., Any]) -> Callable[..., Any]:
        def record(*arguments: Any) -> Any:
            used.append(kernels.get_backend())
            return method(*arguments)

        return record

    for name in ("loss", "forward"):
        monkeypatch.setattr(program.Program, name, recording(getattr(program.Program, name)))
    data = stripes(4)
    for name, fuse in [("numpy", None), ("fusing", False), ("numpy", True), ("fusing", None)]:
        trainer = cnn.Trainer(small_net(), backend=name, fuse=fuse)
        trainer.step(*data)
        trainer.evaluate(data)
    assert used == ["numpy", "numpy", "fusing", "fusing"]
    small_net().predict(data.x)
    assert used[4:] == ["fusing"]


def test_backends_without_fused_operations_train(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kernels.dispatch._registered", {})
    kernels.register_backend("plain", broken.broken())
    plain, numpy = (
        cnn.Trainer(small_net(), backend=name, fuse=False) for name in ("plain", "numpy")
    )
    fused = cnn.Trainer(small_net(), backend="plain")
    losses = [trainer.step(*stripes(5)) for trainer in (plain, numpy, fused)]
    assert losses[0] == losses[1] == losses[2]
