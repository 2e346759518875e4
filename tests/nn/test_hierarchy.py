"""DHHN's networks part by part, against PyTorch's own modules and by their properties."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from avvp_jax.methods.dhhn import stages as dhhn
from avvp_jax.nn.functional import Network, make_network
from avvp_jax.nn.guiding import GuidingNetwork
from avvp_jax.nn.hierarchy import SCALES, JointNetworks, resized
from avvp_jax.nn.layers import Arithmetic, BatchNorm, TimeConvolution
from avvp_jax.task import LLP
from tests.fixtures import SMALL_MODEL

WIDTHS = (6, 7, 5)
GUIDE = {"heads": 2, "feed_forward": 24, "dropout": 0.0, "layers": 1, "repeats": 2}


@pytest.fixture(scope="module")
def joint() -> Network:
    guides = (dict(GUIDE), GUIDE | {"layers": 2})
    model = SMALL_MODEL | {"dropout": 0.0}
    return make_network(JointNetworks, WIDTHS, len(LLP.classes), model, *guides)


@pytest.fixture(scope="module")
def variables(joint):
    return jax.jit(joint.init)(jax.random.key(0))


def batch(videos: int, seed: int = 0) -> dict:
    rng = np.random.default_rng(seed)
    roles = zip(("audio", "visual", "snippet"), WIDTHS, strict=True)
    features = {role: rng.standard_normal((videos, 10, w), np.float32) for role, w in roles}
    label = (rng.random((videos, 25)) < 0.2).astype(np.float32)
    targets = dict.fromkeys(("audio", "visual", "video", "audio_net", "video_net"), label)
    return {"features": features, "targets": targets, "weight": np.ones(videos, np.float32)}


def test_batch_norm_is_pytorchs_over_many_batches():
    """Outputs, running mean and unbiased running variance, and evaluation with them."""
    torch = pytest.importorskip("torch")
    ours, theirs = BatchNorm(6, dtype=jnp.float32), torch.nn.BatchNorm1d(6)
    rng = np.random.default_rng(0)
    scale, bias = rng.standard_normal((2, 6)).astype(np.float32)
    ours.scale[...], ours.bias[...] = scale, bias
    theirs.load_state_dict(
        theirs.state_dict() | {"weight": torch.tensor(scale), "bias": torch.tensor(bias)}
    )
    for _ in range(5):
        x = 3 * rng.standard_normal((4, 5, 6)).astype(np.float32) + 2
        expected = theirs(torch.from_numpy(x.transpose(0, 2, 1))).detach().numpy()
        y = ours(jnp.asarray(x), jnp.ones(4))
        np.testing.assert_allclose(y, expected.transpose(0, 2, 1), atol=2e-6)
    np.testing.assert_allclose(ours.mean[...], theirs.running_mean, rtol=1e-5)
    np.testing.assert_allclose(ours.var[...], theirs.running_var, rtol=1e-5)
    assert int(ours.count[...]) == int(theirs.num_batches_tracked) == 5
    theirs.eval()
    expected = theirs(torch.from_numpy(x.transpose(0, 2, 1))).detach().numpy()
    np.testing.assert_allclose(ours(jnp.asarray(x), None), expected.transpose(0, 2, 1), atol=2e-6)
    assert int(ours.count[...]) == 5


def test_padding_does_not_touch_the_statistics():
    rng = np.random.default_rng(1)
    x = jnp.asarray(rng.standard_normal((3, 5, 6), np.float32))
    padded = jnp.concatenate([x, 100 * jnp.ones((2, 5, 6))])
    alone, filled = BatchNorm(6, dtype=jnp.float32), BatchNorm(6, dtype=jnp.float32)
    y = alone(x, jnp.ones(3))
    z = filled(padded, jnp.array([1.0, 1, 1, 0, 0]))
    np.testing.assert_allclose(z[:3], y, rtol=1e-6)
    np.testing.assert_allclose(filled.mean[...], alone.mean[...], rtol=1e-6)
    np.testing.assert_allclose(filled.var[...], alone.var[...], rtol=1e-6)


@pytest.mark.parametrize("scale", SCALES)
def test_convolutions_over_time_are_pytorchs(scale):
    torch = pytest.importorskip("torch")
    ours = TimeConvolution(
        6, *scale, arithmetic=Arithmetic.named("float32", "highest"), rngs=nnx.Rngs(0)
    )
    kernel, stride, padding = scale
    theirs = torch.nn.Conv1d(6, 6, kernel, stride, padding, bias=False)
    theirs.load_state_dict({"weight": torch.from_numpy(np.array(ours.taps[...]).T.copy())})
    x = np.random.default_rng(0).standard_normal((3, 10, 6)).astype(np.float32)
    y = theirs(torch.from_numpy(x.transpose(0, 2, 1))).detach().numpy().transpose(0, 2, 1)
    assert y.shape[1] == {1: 10, 3: 5, 5: 2}[kernel]
    expected = np.maximum(y / np.sqrt(1 + 1e-5), 0)  # of fresh running statistics, then ReLU
    np.testing.assert_allclose(ours(jnp.asarray(x), None), expected, atol=1e-6)


def test_shorter_streams_are_resized_by_nearest_neighbour():
    x = jnp.arange(5.0).reshape(1, 5, 1)
    np.testing.assert_array_equal(resized(x, 10).ravel(), [0, 0, 1, 1, 2, 2, 3, 3, 4, 4])
    two = resized(x[:, :2], 10).ravel()
    np.testing.assert_array_equal(two, [0] * 5 + [1] * 5)


def test_the_guides_encoder_is_pytorchs():
    """Two stacked encoder layers, run twice with a residual around them."""
    torch = pytest.importorskip("torch")
    options = GUIDE | {"layers": 2, "width": 16, "dtype": "float32", "precision": "highest"}
    network = make_network(GuidingNetwork, WIDTHS, len(LLP.classes), "visual", **options)
    module = network.module(network.init(jax.random.key(0)))
    layers = []
    for layer in module.self_encoder.layers:
        torch_layer = torch.nn.TransformerEncoderLayer(16, 2, 24, 0.0, batch_first=True)
        attention = layer.self_attention
        weights = {
            "self_attn.in_proj_weight": attention.in_kernel[...].T,
            "self_attn.in_proj_bias": attention.in_bias[...],
            "self_attn.out_proj.weight": attention.out_proj.kernel[...].T,
            "self_attn.out_proj.bias": attention.out_proj.bias[...],
        }
        for name in ("linear1", "linear2"):
            weights[f"{name}.weight"] = getattr(layer, name).kernel[...].T
            weights[f"{name}.bias"] = getattr(layer, name).bias[...]
        for name in ("norm1", "norm2"):
            weights[f"{name}.weight"] = getattr(layer, name).scale[...]
            weights[f"{name}.bias"] = getattr(layer, name).bias[...]
        weights = {key: torch.from_numpy(np.array(value)) for key, value in weights.items()}
        torch_layer.load_state_dict(weights)
        layers.append(torch_layer)
    features = batch(3)["features"]
    x = torch.from_numpy(np.array(module.visual_tokens(features["visual"], features["snippet"])))
    for _ in range(2):
        y = x
        for torch_layer in layers:
            y = torch_layer(y)
        x = x + y
    expected = jax.nn.sigmoid(module.pooling.fc_prob(jnp.asarray(x.detach().numpy())))
    np.testing.assert_allclose(module(features)["frame_prob"], expected, atol=1e-5)


def test_layers_start_as_copies_and_guides_have_no_cross_modal_attention(variables):
    params = variables["params"]
    first, second = (params["video_net"]["self_encoder"]["layers"][i] for i in (0, 1))
    jax.tree.map(np.testing.assert_array_equal, first, second)
    assert "cross_attention" not in first
    assert "fc_av_att" not in params["audio_net"]["pooling"]
    assert "fc_a" not in params["video_net"]


def test_each_network_learns_from_its_own_loss_alone(joint, variables):
    """The gradient of the sum is, for each network, that of the published loss of it."""
    data, key = batch(6), jax.random.key(1)
    own = {
        "audio_net": lambda name: name.startswith("loss/audio_net"),
        "video_net": lambda name: name.startswith("loss/video_net"),
        "hcmn": lambda name: "_net" not in name,
    }

    @jax.jit
    def gradients(chosen):
        def objective(params):
            module = joint.module({"params": params, "stats": variables["stats"]})
            _, parts = dhhn.loss(module, data, key)
            factors = {
                name: chosen[network] for name in parts for network in own if own[network](name)
            }
            return sum(factors[name] * part for name, part in parts.items())

        return jax.grad(objective)(variables["params"])

    total = gradients(dict.fromkeys(own, 1.0))
    for network in own:
        alone = gradients(dict.fromkeys(own, 0.0) | {network: 1.0})
        for other in own:
            size = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(alone[other]))
            assert (size > 0) == (other == network)
        jax.tree.map(
            lambda x, y: np.testing.assert_allclose(x, y, atol=1e-7), total[network], alone[network]
        )


def test_a_smaller_last_batch_counts_as_if_it_stood_alone(joint, variables):
    """Loss and running statistics of three videos, and of them beside two of weight zero."""
    small, large = batch(3), batch(5, seed=2)
    for group in ("features", "targets"):
        for name, array in large[group].items():
            array[:3] = small[group][name]
    large["weight"] = np.array([1, 1, 1, 0, 0], np.float32)

    @jax.jit
    def step(data):
        module = joint.module(variables)
        loss, _ = dhhn.loss(module, data, jax.random.key(1))
        return loss, module.hcmn.audio_scales[2].norm.var[...]

    (loss, var), (padded_loss, padded_var) = step(small), step(large)
    np.testing.assert_allclose(padded_loss, loss, rtol=1e-5)
    np.testing.assert_allclose(padded_var, var, rtol=1e-5)


def test_evaluation_changes_no_statistics_and_needs_no_other_video(joint, variables):
    @jax.jit
    def evaluate(features):
        module = joint.module(variables)
        output = module.hcmn(features)
        return output["frame_prob"], module.hcmn.audio_scales[0].norm.count[...]

    features = batch(4)["features"]
    together, count = evaluate(features)
    alone, _ = evaluate({role: x[1:2] for role, x in features.items()})
    np.testing.assert_allclose(together[1:2], alone, rtol=1e-5)
    assert int(count) == 0
