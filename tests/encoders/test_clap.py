"""CLAP's towers compute what PyTorch computes with the same weights, and mistakes would show."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import recipe_extract as recipe
from flax import nnx

from avvp_jax.encoders import clap_layers, clap_sound, htsat, roberta, swin
from avvp_jax.encoders.clap_files import read_clap
from avvp_jax.encoders.towers import Towers
from tests.encoders import networks as net

# Suggested with the golden numbers: relative L2, and largest error over the rms. PyTorch computes
# where the stretched frames lie in float32, hence more for sound.
LIMITS = {"feature_map": (5e-5, 5e-4), "embedding": (3e-5, 1e-4), "text": (1e-5, 5e-5)}
ENTRY_LIMITS = {"clap_audio": 5e-4, "clap_text": 1e-4}
SIZES = ["small", pytest.param("full", marks=pytest.mark.golden)]
NAMES = {"highest": "HIGHEST", "high": "HIGH", "fastest": "DEFAULT"}


@functools.cache
def golden(name: str, size: str) -> dict[str, np.ndarray]:
    arrays = dict(np.load(net.FOLDER / f"{name}.npz"))
    small = {n.removeprefix("small/"): x for n, x in arrays.items() if n.startswith("small/")}
    if size == "full":
        return arrays
    # The small network takes the first and the last of the spectrograms.
    log_mel = {"log_mel": arrays["log_mel"][::2]} if "log_mel" in arrays else {}
    return arrays | small | log_mel


def state(size: str) -> dict[str, np.ndarray]:
    return recipe.weights(net.SHAPES["small/clap" if size == "small" else "clap"], net.SEED)


@functools.cache
def towers(size: str) -> Towers:
    found, note = read_clap(state(size), "recipe.pt")
    assert note is None
    if size == "small":  # its heads are less wide than those of published weights
        arguments = list(found.text.arguments)
        arguments[4] = 4
        found = found._replace(text=found.text._replace(arguments=tuple(arguments)))
    return found


def module(tower: str, size: str = "small") -> nnx.Module:
    one = getattr(towers(size), tower)
    return one.network().module(jax.device_put(one.variables))


def summary(x: jax.Array) -> jax.Array:
    """The norm and the first entries of each sample."""
    x = x.reshape(len(x), -1)
    return jnp.concatenate([jnp.linalg.norm(x, axis=1)[:, None], x[:, :6]], axis=1)


def compare_stages(name: str, size: str, stages: dict[str, jax.Array]) -> None:
    found, wanted = jax.tree.map(summary, stages), golden(name, size)
    kept = {"layer5", "layer11", "layers.3.blocks.1"} if size == "small" else set()
    names = [x for x in wanted if x.startswith("stage/") and x.removeprefix("stage/") not in kept]
    assert len(names) > 5
    for each in names:
        ours = found[stage := each.removeprefix("stage/")]
        theirs = wanted[each]
        np.testing.assert_allclose(ours[:, 0], theirs[:, 0], rtol=net.NORM_LIMIT, err_msg=each)
        rms = theirs[:, :1] / stages[stage][0].size ** 0.5
        assert (np.abs(ours - theirs)[:, 1:] <= ENTRY_LIMITS[name] * rms).all(), each


def assert_near(found: jax.Array, name: str, size: str) -> None:
    wanted = golden("clap_text" if name == "text" else "clap_audio", size)[name]
    l2, largest = LIMITS[name]
    assert found.dtype == jnp.float32
    assert net.l2_error(np.asarray(found), wanted) < l2
    assert np.abs(found - wanted).max() < largest * np.sqrt(np.mean(wanted**2))


@pytest.mark.parametrize("size", SIZES)
def test_sound_is_that_of_pytorch_at_every_stage(size):
    @jax.jit
    def run(variables, log_mel):
        tower = towers(size).media.network().module(variables)
        stages = dict(tower.stages(log_mel))
        # In PyTorch's layouts; the published program makes four equal channels.
        stages["bn0"] = jnp.repeat(stages["bn0"].swapaxes(1, 2)[..., None], 4, axis=-1)
        stages["patch_embed.proj"] = jnp.moveaxis(stages["patch_embed.proj"], -1, 1)
        features = tower.features(log_mel)
        stages["audio_projection.0"] = tower.projection.fc1(features.mean(axis=1))
        return stages, features, tower.embedding(features)

    log_mel = golden("clap_audio", size)["log_mel"]
    stages, features, embedding = run(towers(size).media.variables, log_mel)
    compare_stages("clap_audio", size, stages)
    assert_near(features, "feature_map", size)
    assert_near(embedding, "embedding", size)


@pytest.mark.parametrize("size", SIZES)
def test_text_is_that_of_pytorch_at_every_stage(size):
    @jax.jit
    def run(variables, ids, mask):
        tower = towers(size).text.network().module(variables)
        stages = dict(tower.stages(ids, mask))
        stages["text_projection.0"] = tower.projection.fc1(stages["pooler"])
        hidden = jax.nn.relu(stages["text_projection.0"])
        return stages | {"text_projection.2": tower.projection.fc2(hidden)}, tower(ids, mask)

    numbers = golden("clap_text", size)
    ids, mask = numbers["token_ids"], numbers["attention_mask"]
    stages, text = run(towers(size).text.variables, ids, mask)
    compare_stages("clap_text", size, stages)
    assert_near(text, "text", size)
    np.testing.assert_allclose(np.linalg.norm(text, axis=1), 1, rtol=1e-6)


def test_a_call_is_the_embedding_of_the_features():
    tower, log_mel = module("media"), golden("clap_audio", "small")["log_mel"]
    np.testing.assert_allclose(
        tower(jnp.asarray(log_mel)), golden("clap_audio", "small")["embedding"], atol=1e-5
    )


def test_text_needs_no_more_padding_than_the_longest_has():
    numbers, tower = golden("clap_text", "small"), module("text")
    ids, mask = numbers["token_ids"][1:], numbers["attention_mask"][1:]
    longest = mask.sum(axis=1).max()
    assert longest < mask.shape[1]
    found = tower(*(jnp.asarray(x[:, :longest]) for x in (ids, mask)))
    np.testing.assert_allclose(found, numbers["text"][1:], atol=1e-5)


def epsilon(value):
    def change(tower, patch):
        for _, part in nnx.iter_graph(tower):
            if isinstance(part, nnx.LayerNorm):
                part.epsilon = value

    return change


def patched(place, name, value):
    return lambda tower, patch: patch.setattr(place, name, value)


def tanh_gelu(tower, patch):
    patch.setattr(clap_layers, "gelu", functools.partial(jax.nn.gelu, approximate=True))


def no_shift(tower, patch):
    for layer in tower.layers:
        for block in layer.blocks:
            block.shift = 0


def merged_by_rows(self, x):
    n, side, _, width = x.shape
    x = x.reshape(n, side // 2, 2, side // 2, 2, width).transpose(0, 1, 3, 2, 4, 5)
    return self.reduction(self.norm(x.reshape(n, side // 2, side // 2, -1)))


def linear_matrix(length, resized, corners_aligned):
    places = np.linspace(0, length - 1, resized)[:, None]
    return np.maximum(0, 1 - np.abs(places - np.arange(length)))


def raw_order(tower, patch):
    def features(self, log_mel):
        *_, (_, x) = self.stages(log_mel)
        return x.reshape(len(x), -1, x.shape[-1])

    patch.setattr(htsat.HTSAT, "features", features)


positions, bicubic = swin.relative_positions, htsat.bicubic_matrix
OF_SOUND = {
    "no shift mask": patched(swin, "shift_mask", lambda *_: np.zeros((1, 64, 64), np.float32)),
    "no shift": no_shift,
    "merging by rows": patched(swin.Merging, "__call__", merged_by_rows),
    "tanh GELU": tanh_gelu,
    "epsilon 1e-6": epsilon(1e-6),
    "positions transposed": patched(swin, "relative_positions", lambda w: positions(w).T),
    "corners not aligned": patched(htsat, "bicubic_matrix", lambda a, b, **_: bicubic(a, b)),
    "bilinear": patched(htsat, "bicubic_matrix", linear_matrix),
    "rows in the order of tokens": raw_order,
}
OF_TEXT = {
    "padding not masked": patched(roberta, "_NEVER", 0.0),
    "positions from 0": patched(roberta, "PADDING", -1),
    "tanh GELU": tanh_gelu,
    "epsilon 1e-6": epsilon(1e-6),
    "epsilon 1e-12": epsilon(1e-12),
}


@pytest.mark.parametrize("mistake", OF_SOUND)
def test_a_mistake_in_sound_would_leave_the_limits(mistake, monkeypatch):
    tower, numbers = module("media"), golden("clap_audio", "small")
    OF_SOUND[mistake](tower, monkeypatch)
    features = tower.features(jnp.asarray(numbers["log_mel"]))
    assert net.l2_error(np.asarray(features), numbers["feature_map"]) > 4 * LIMITS["feature_map"][0]
    if mistake != "rows in the order of tokens":
        found = np.asarray(tower.embedding(features))
        assert net.l2_error(found, numbers["embedding"]) > 4 * LIMITS["embedding"][0]


@pytest.mark.parametrize("mistake", OF_TEXT)
def test_a_mistake_in_text_would_leave_the_limits(mistake, monkeypatch):
    tower, numbers = module("text"), golden("clap_text", "small")
    OF_TEXT[mistake](tower, monkeypatch)
    found = tower(*(jnp.asarray(numbers[x]) for x in ("token_ids", "attention_mask")))
    assert net.l2_error(np.asarray(found), numbers["text"]) > 4 * LIMITS["text"][0]


@pytest.mark.parametrize("rounded", [True, False])
def test_sound_of_more_than_16_bits_would_leave_the_limits(rounded, monkeypatch):
    if not rounded:
        monkeypatch.setattr(clap_sound, "_rounded", lambda sound: sound)
    waves = [recipe.wave(net.SEED, 10, 48_000), recipe.wave(net.SEED + 2, 1.3, 48_000)]
    log_mel = clap_sound.log_mels(np.concatenate([clap_sound.clips(x, 1)[1:] for x in waves]))
    found = np.asarray(module("media").features(jnp.asarray(log_mel)))
    error = net.l2_error(found, golden("clap_audio", "small")["feature_map"])
    limit = LIMITS["feature_map"][0]
    assert error < limit if rounded else error > 2 * limit


def lowered(tower: str, **options) -> str:
    one, numbers = getattr(towers("small"), tower), golden("clap_text", "small")
    network = one.network(**options)
    x = [golden("clap_audio", "small")["log_mel"]]
    if tower == "text":
        x = [numbers["token_ids"], numbers["attention_mask"]]
    program = jax.jit(lambda variables, *x: network.module(variables)(*x))
    return program.lower(network.shapes(), *x).as_text()


@pytest.mark.parametrize("precision", NAMES)
@pytest.mark.parametrize("tower", ["media", "text"])
def test_every_product_has_the_precision(tower, precision):
    for ours in ("bfloat16", "float32"):
        with jax.default_matmul_precision(ours):
            program = lowered(tower, precision=precision)
    products = [x for x in program.splitlines() if re.search(r"\.(dot_general|convolution)\W", x)]
    assert len(products) > 10
    for each in products:
        assert re.findall(r"\b(DEFAULT|HIGH|HIGHEST)\b", each) == [NAMES[precision]] * 2, each


@pytest.mark.parametrize("tower", ["media", "text"])
def test_bfloat16_is_near_float32(tower):
    one, name = getattr(towers("small"), tower), {"media": "embedding", "text": "text"}[tower]
    numbers = golden({"media": "clap_audio", "text": "clap_text"}[tower], "small")
    inputs = {"media": ["log_mel"], "text": ["token_ids", "attention_mask"]}[tower]
    found = one.network(dtype="bfloat16").module(jax.device_put(one.variables))(
        *(jnp.asarray(numbers[x]) for x in inputs)
    )
    assert found.dtype == jnp.float32
    assert 1e-4 < net.l2_error(np.asarray(found), numbers[name]) < 0.1
