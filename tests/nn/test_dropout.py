"""Dropout: where it is, what it draws, and what its bits depend on."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.random import threefry_2x32

import avvp_jax.nn.dropout
from avvp_jax.nn.dropout import Dropout, dropout, random_halves
from avvp_jax.nn.functional import make_network, parser_network
from avvp_jax.nn.hierarchy import JointNetworks
from avvp_jax.training import keys

WIDTHS, CLASSES = (6, 7, 5), 25
GUIDE = {"heads": 2, "feed_forward": 24, "dropout": 0.1, "layers": 2, "repeats": 3}
SEQUENTIAL = {"order": "sequential", "norm": "pre", "layers": 3}


def parser_of(model: dict):
    network = parser_network(WIDTHS, CLASSES, model)
    return network.module(network.init(jax.random.key(0)))


def features(videos: int = 3) -> dict:
    rng = np.random.default_rng(0)
    roles = zip(("audio", "visual", "snippet"), WIDTHS, strict=True)
    return {role: rng.standard_normal((videos, 10, width), np.float32) for role, width in roles}


@pytest.fixture
def places(monkeypatch):
    """Each place that drops something: shape, rate, the draw it takes from and where."""
    found, draws = [], []

    def drawn(key, videos, entries):
        draws.append((tuple(jax.random.key_data(key).tolist()), entries))
        return random_halves(key, videos, entries)

    def spy(self, shape, rate):
        start = self._next
        mask = kept(self, shape, rate)
        found.append((shape, rate, draws[-1][0], range(start, self._next)))
        return mask

    kept = Dropout._kept
    monkeypatch.setattr(avvp_jax.nn.dropout, "random_halves", drawn)
    monkeypatch.setattr(Dropout, "_kept", spy)
    return found, draws


def test_dropout_is_where_the_paper_has_it(small_model, places):
    """On both attentions' weights and outputs, twice in the feed-forward, and before MMIL."""
    parser_of(small_model | {"visual_dropout": 0.5})(features(), jax.random.key(0))
    attention, stream, hidden = (3, 2, 2, 10, 10), (3, 2, 10, 16), (3, 2, 10, 24)
    inside = [attention, stream, attention, stream, hidden, stream]
    assert [(shape, rate) for shape, rate, *_ in places[0]] == [
        *((shape, 0.1) for shape in inside),
        ((3, 10, 16), 0.5),
    ]


@pytest.mark.parametrize(
    "model", [{}, {"cross_attention": False}, SEQUENTIAL, SEQUENTIAL | {"cross_attention": False}]
)
def test_an_encoder_draws_once_and_just_what_its_layers_take(model, small_model, places):
    parser_of(small_model | model)(features(), jax.random.key(0))
    taken, draws = places
    ((_, entries),) = draws
    assert [x for *_, where in taken for x in where] == list(range(entries))
    assert all(len(where) == math.prod(shape[1:]) for shape, *_, where in taken)


def test_dhhn_draws_once_for_a_scale_and_for_a_guide(small_model, places):
    model = {name: x for name, x in small_model.items()}
    network = make_network(JointNetworks, WIDTHS, CLASSES, model, GUIDE, GUIDE)
    networks = network.module(network.init(jax.random.key(0)))
    networks.hcmn(features(), jax.random.key(1), weight=np.ones(3))
    networks.audio_net(features(), jax.random.key(2))
    networks.video_net(features(), jax.random.key(3))
    taken, draws = places
    assert len(draws) == len({key for key, _ in draws}) == 3 + 2
    for key, entries in draws:
        where = [x for *_, other, places in taken if other == key for x in places]
        assert where == list(range(entries))


def test_a_network_without_dropout_draws_nothing(small_model, places):
    parser_of(small_model | {"dropout": 0.0})(features(), jax.random.key(0))
    assert places == ([], [])


def test_taking_more_than_was_drawn_fails():
    drop = Dropout.drawn(jax.random.key(0), 3, 10)
    drop(jnp.ones((3, 8)), 0.1)
    with pytest.raises(TypeError):
        drop(jnp.ones((3, 3)), 0.1)


def test_dropout_follows_the_key_and_rests_without_one(small_model):
    parser, inputs = parser_of(small_model), features()

    def prob(key):
        return parser(inputs, key)["frame_prob"]

    np.testing.assert_array_equal(prob(None), prob(None))
    np.testing.assert_array_equal(prob(jax.random.key(1)), prob(jax.random.key(1)))
    assert np.abs(prob(jax.random.key(1)) - prob(jax.random.key(2))).max() > 1e-4
    assert np.abs(prob(jax.random.key(1)) - prob(None)).max() > 1e-4


def test_visual_dropout_spares_the_audio_stream(small_model):
    parser = parser_of(small_model | {"dropout": 0.0, "visual_dropout": 0.5})
    inputs = features()
    rest, drawn = (parser(inputs, key)["frame_prob"] for key in (None, jax.random.key(0)))
    np.testing.assert_array_equal(rest[:, :, 0], drawn[:, :, 0])
    assert np.abs(rest[:, :, 1] - drawn[:, :, 1]).max() > 1e-3


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_dropout_keeps_the_mean(rate):
    dropped = dropout(jnp.ones((1000, 100)), rate, jax.random.key(0))
    assert abs(float((dropped == 0).mean()) - rate) < 0.01
    assert abs(float(dropped.mean()) - 1) < 0.01


def test_another_generator_draws_other_bits():
    """The hardware's generator is opt-in, because its bits depend on vmap."""
    masks = [random_halves(keys.root_key(3, name), 8, 30) for name in keys.GENERATORS]
    assert (masks[0] != masks[1]).any()


def test_dropout_of_a_video_does_not_depend_on_how_many_there_are():
    """Sizes that devices do not divide are padded, which must change nothing."""
    key = keys.root_key(0)
    for entries in (1, 3, 70):
        few, many = (random_halves(key, videos, entries) for videos in (4, 9))
        np.testing.assert_array_equal(few, many[:4])


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_dropout_keeps_its_share(rate):
    mask = np.asarray(dropout(jnp.ones((500, 1001)), rate, keys.root_key(1))) > 0
    # Five standard deviations of the share.
    assert abs(mask.mean() - (1 - rate)) < 5 * (rate * (1 - rate) / mask.size) ** 0.5


@pytest.mark.parametrize("seed", [0, 2**31 + 5])
def test_threefry_is_that_of_jax(seed):
    """Of the number of the video and of the block; halves come low before high, word by word."""
    key, videos, blocks = jax.random.key(seed), 3, 5
    counts = jnp.stack([*map(jnp.ravel, jnp.indices((videos, blocks), jnp.uint32))])
    words = threefry_2x32(jax.random.key_data(key), counts).reshape(2, videos, blocks)
    halves = np.concatenate([x for word in words for x in (word & 0xFFFF, word >> 16)], axis=1)
    np.testing.assert_array_equal(random_halves(key, videos, 4 * blocks), halves)
    np.testing.assert_array_equal(random_halves(key, videos, 4 * blocks - 3), halves[:, :-3])
