"""Losses by hand."""

import jax
import numpy as np

from avvp_jax.methods.losses import bce, smooth_visual


def test_bce_is_the_mean_over_videos_and_classes():
    prob = np.array([[0.5, 0.9], [0.2, 0.6]], np.float32)
    target = np.array([[1, 0.95], [0, 0.05]], np.float32)
    by_hand = -(target * np.log(prob) + (1 - target) * np.log(1 - prob)).mean()
    np.testing.assert_allclose(bce(prob, target, np.ones(2)), by_hand, rtol=1e-6)


def test_padding_changes_neither_loss_nor_gradient():
    rng = np.random.default_rng(0)
    prob, target = rng.random((2, 5, 4)).astype(np.float32)
    weight = np.array([1, 1, 1, 0, 0], np.float32)
    np.testing.assert_allclose(
        bce(prob, target, weight), bce(prob[:3], target[:3], np.ones(3)), rtol=1e-6
    )
    gradient = jax.grad(bce)(prob, target, weight)
    assert not gradient[3:].any()
    assert gradient[:3].all()


def test_certain_and_wrong_costs_the_clamped_amount():
    loss = bce(np.zeros((1, 1), np.float32), np.ones((1, 1), np.float32), np.ones(1))
    np.testing.assert_allclose(loss, -np.log(1e-7), rtol=1e-5)


def test_smoothed_visual_targets():
    np.testing.assert_allclose(smooth_visual(np.array([0.0, 1.0])), [0.05, 0.95], rtol=1e-6)
