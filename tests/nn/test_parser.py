"""The parser network against the published program's numbers, and what its options do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from avvp_jax.nn.functional import parser_network
from avvp_jax.nn.pooling import PROBABILITIES
from avvp_jax.task import LLP

pytestmark = pytest.mark.golden

WIDTHS = (6, 7, 5)


def make(model: dict, seed: int = 0):
    network = parser_network(WIDTHS, len(LLP.classes), model)
    return network, network.init(jax.random.key(seed))


def features(videos: int = 3, seed: int = 0) -> dict:
    rng = np.random.default_rng(seed)
    roles = zip(("audio", "visual", "snippet"), WIDTHS, strict=True)
    return {role: rng.standard_normal((videos, 10, width), np.float32) for role, width in roles}


def test_forward_equals_the_published_program(golden, published_network, recipe_batch):
    numbers = golden("han")
    network, variables, _ = published_network("han", int(numbers["seed"]))
    inputs = recipe_batch(4, int(numbers["seed"]))["features"]
    output = jax.jit(lambda v, x: network.module(v)(x))(variables, inputs)
    for name in PROBABILITIES:
        np.testing.assert_allclose(output[name], numbers[f"forward/{name}"], rtol=1e-5)


def test_probabilities_are_consistent(small_model):
    network, variables = make(small_model)
    output = network.module(variables)(features())
    assert output["frame_prob"].shape == (3, 10, 2, 25)
    for name in PROBABILITIES:
        assert output[name].dtype == jnp.float32
        assert ((output[name] > 0) & (output[name] < 1)).all()
    # Pooling is an average over segments, so it stays within their range.
    low, high = output["frame_prob"].min(axis=1), output["frame_prob"].max(axis=1)
    pooled = jnp.stack([output["audio_prob"], output["visual_prob"]], axis=1)
    assert ((pooled >= low) & (pooled <= high)).all()


def test_videos_do_not_influence_each_other(small_model):
    network, variables = make(small_model)
    inputs = features(3)
    together = network.module(variables)(inputs)["frame_prob"]
    alone = network.module(variables)({k: x[1:2] for k, x in inputs.items()})["frame_prob"]
    np.testing.assert_allclose(together[1:2], alone, rtol=1e-5)


def test_parallel_update_treats_both_directions_alike(small_model):
    network, variables = make(small_model)
    encoder = network.module(variables).encoder
    rng = np.random.default_rng(1)
    one, two = jnp.asarray(rng.standard_normal((2, 3, 10, 16), np.float32))
    audio, visual = encoder(one, two)
    swapped_audio, swapped_visual = encoder(two, one)
    np.testing.assert_allclose(audio, swapped_visual, atol=1e-5)
    np.testing.assert_allclose(visual, swapped_audio, atol=1e-5)


def test_sequential_update_shows_the_new_audio_to_the_visual_stream(small_model):
    network, variables = make(small_model | {"order": "sequential", "layers": 1})
    encoder = network.module(variables).encoder
    rng = np.random.default_rng(1)
    one, two = jnp.asarray(rng.standard_normal((2, 3, 10, 16), np.float32))
    audio, visual = encoder(one, two)
    layer = encoder.layers[0]
    np.testing.assert_allclose(audio, layer.update_from(one, two), atol=1e-6)
    np.testing.assert_allclose(visual, layer.update_from(two, audio), atol=1e-6)
    assert np.abs(visual - layer.update_from(two, one)).max() > 1e-3


def test_without_cross_attention_the_streams_are_independent(small_model):
    network, variables = make(small_model)
    encoder = network.module(variables).encoder
    rng = np.random.default_rng(1)
    one, two, other = jnp.asarray(rng.standard_normal((3, 2, 10, 16), np.float32))
    assert np.abs(encoder(one, two)[0] - encoder(one, other)[0]).max() > 1e-3
    separate = [encoder.without_cross_attention(one, x)[0] for x in (two, other)]
    np.testing.assert_array_equal(*separate)


def test_layers_start_as_copies_of_one(small_model):
    _, variables = make(small_model | {"layers": 3})
    layers = variables["params"]["encoder"]["layers"]
    assert len(layers) == 3
    for index in (1, 2):
        jax.tree.map(np.testing.assert_array_equal, layers[0], layers[index])


def test_pre_norm_adds_a_final_norm_per_stream(small_model):
    network, variables = make(small_model | {"norm": "pre"})
    encoder = variables["params"]["encoder"]
    assert {"final_norm_a", "final_norm_v"} <= encoder.keys()
    rng = np.random.default_rng(1)
    one, two = jnp.asarray(rng.standard_normal((2, 3, 10, 16), np.float32))
    for stream in network.module(variables).encoder(one, two):
        np.testing.assert_allclose(stream.mean(axis=-1), 0, atol=1e-5)
        np.testing.assert_allclose(stream.std(axis=-1), 1, atol=1e-2)


def test_bfloat16_computes_close_to_float32(small_model):
    network, variables = make(small_model)
    half, _ = make(small_model | {"dtype": "bfloat16"})
    exact = network.module(variables)(features())["frame_prob"]
    rounded = half.module(variables)(features())["frame_prob"]
    difference = np.abs(exact - rounded).max()
    assert 0 < difference < 0.05


def test_initialisation_is_the_published_one():
    from avvp_jax.methods.han.method import MODEL

    network = parser_network((128, 2048, 512), len(LLP.classes), MODEL)
    params = network.init(jax.random.key(3))["params"]
    tokens = params["visual_tokens"] | {"fc_a": params["fc_a"]}
    for name, fan_in in {"fc_a": 128, "fc_v": 2048, "fc_fusion": 1024}.items():
        for part in tokens[name].values():
            bound = fan_in**-0.5
            assert np.abs(part).max() <= bound
            assert np.abs(part).max() > 0.9 * bound
            assert abs(np.std(part) / (bound / 3**0.5) - 1) < 0.1
    attention = params["encoder"]["layers"][0]["cross_attention"]
    bound = (6 / (512 + 3 * 512)) ** 0.5
    assert 0.99 * bound < np.abs(attention["in_kernel"]).max() <= bound
    assert not attention["in_bias"].any()
    assert not attention["out_proj"]["bias"].any()
    norm = params["encoder"]["layers"][0]["norm1"]
    assert (norm["scale"] == 1).all()
    assert not norm["bias"].any()


@pytest.mark.parametrize("heads", [1, 4])
def test_attention_is_pytorchs(heads):
    """nn.MultiheadAttention with the same weights: packing, heads, scale, projections."""
    torch = pytest.importorskip("torch")
    from flax import nnx

    from avvp_jax.nn.attention import Attention
    from avvp_jax.nn.layers import Arithmetic

    ours = Attention(
        8, heads, dropout=0.0, arithmetic=Arithmetic.named("float32", "highest"), rngs=nnx.Rngs(0)
    )
    ours.in_bias[...] = jax.random.normal(jax.random.key(1), (24,))
    theirs = torch.nn.MultiheadAttention(8, heads, batch_first=True)
    weights = {
        "in_proj_weight": ours.in_kernel[...].T,
        "in_proj_bias": ours.in_bias[...],
        "out_proj.weight": ours.out_proj.kernel[...].T,
        "out_proj.bias": ours.out_proj.bias[...],
    }
    theirs.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in weights.items()})
    rng = np.random.default_rng(0)
    query, context = (rng.standard_normal((2, n, 8)).astype(np.float32) for n in (5, 7))
    for attended, other in (
        (ours.to_itself(jnp.asarray(query)), query),
        (ours.to_context(*map(jnp.asarray, (query, context))), context),
    ):
        expected = theirs(*(torch.from_numpy(x) for x in (query, other, other)))[0]
        np.testing.assert_allclose(attended, expected.detach(), atol=1e-5)
    one, two = pair = jnp.asarray(rng.standard_normal((2, 5, 8), np.float32))
    swapped = ours.to_each_other(pair[None])[0]
    for attended, own, other in zip(swapped, (one, two), (two, one), strict=True):
        np.testing.assert_allclose(attended, ours.to_context(own[None], other[None])[0], atol=1e-6)


def test_pre_norm_normalises_the_query_and_not_the_other_stream(small_model):
    network, variables = make(small_model | {"norm": "pre"})
    layer = network.module(variables).encoder.layers[0]
    rng = np.random.default_rng(1)
    own, other = jnp.asarray(rng.standard_normal((2, 3, 10, 16), np.float32))
    query = layer.norm1(own)
    expected = own + layer.cross_attention.to_context(query, other)
    expected = expected + layer.self_attention.to_itself(query)
    hidden = jax.nn.relu(layer.linear1(layer.norm2(expected)))
    np.testing.assert_allclose(
        layer.update_from(own, other), expected + layer.linear2(hidden), atol=1e-5
    )
