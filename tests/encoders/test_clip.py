"""CLIP's towers compute what PyTorch computes with the same weights, from either published file."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import recipe_extract as recipe

from avvp_jax.encoders import clip
from avvp_jax.encoders.clip_files import read_clip
from avvp_jax.encoders.towers import Tower
from tests.encoders import clip_states as states
from tests.encoders import networks as net

PROMPTS = """
1047 2578 | 320 1615 | 1047 14289 | 320 1929 | 320 2368 | 38516 1559 | 1047 1629 3835 |
320 1769 11321 | 320 37617 | 320 23013 | 320 27014 | 1047 5864 | 320 3717 541 320 30926 |
320 17058 | 320 3125 27119 15619 | 320 8301 1794 |
550 48760 | 320 31675 30895 | 320 10297 | 320 11956 |
320 10616 3759 528 | 320 26035 17243 | 320 6828 1794 | 320 25066 | 3500 940 1682
"""
LOGIT_LIMIT = 1e-4
NAMES = {"highest": "HIGHEST", "high": "HIGH", "fastest": "DEFAULT"}


def golden(size: str) -> dict[str, np.ndarray]:
    arrays = dict(np.load(net.FOLDER / "clip.npz"))
    small = {n.removeprefix("small/"): x for n, x in arrays.items() if n.startswith("small/")}
    return small if size else arrays


def pictures(size: str) -> np.ndarray:
    x = recipe.image(net.SEED, *((2, 56) if size else (4,)))
    return np.ascontiguousarray(np.moveaxis(x, 1, -1))


def inputs(size: str) -> dict[str, np.ndarray]:
    return {"vision": pictures(size), "text": golden(size)["token_ids"]}


def golden_name(stage: str) -> str:
    return {"pre_norm": "pre_layrnorm"}.get(stage, stage).replace("block", "layer")


def run(tower: Tower, x: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The rows of a tower, and of each stage the norm and the first entries of each sample."""

    @jax.jit
    def call(variables, x):
        module, stages = tower.network().module(variables), {}
        for stage, value in module.stages(x):
            flat = value.reshape(len(value), -1)
            size = jnp.full((len(value), 1), flat.shape[1] ** 0.5)
            norm = jnp.linalg.norm(flat, axis=1, keepdims=True)
            stages[golden_name(stage)] = jnp.concatenate([norm, flat[:, :6], size], axis=1)
        return clip.unit(value), stages

    return jax.device_get(call(tower.variables, x))


def compare(found: np.ndarray, wanted: np.ndarray) -> None:
    assert found.dtype == np.float32
    assert net.l2_error(found, wanted) < net.L2_LIMIT
    assert np.abs(found - wanted).max() < net.LARGEST_LIMIT * np.sqrt(np.mean(wanted**2))


@pytest.mark.parametrize("size", ["small/", pytest.param("", marks=pytest.mark.golden)])
def test_every_stage_the_rows_and_the_logits_are_those_of_pytorch(size):
    towers = read_clip(states.hugging_face(size), "x", heads=states.HEADS if size else (None, None))
    expected, rows = golden(size), {}
    for name, tower in (("vision", towers.media), ("text", towers.text)):
        rows[name], stages = run(tower, inputs(size)[name])
        compared = [x for x in expected if x.startswith(f"stage/{name}")]
        assert len(compared) > 4
        for each in compared:
            wanted = expected[each].copy()
            kind = each.rpartition("/")[2]
            if (name, kind) == ("vision", "post_layernorm") or kind == "final_layer_norm":
                kind = "post_norm"
            found = stages[kind]
            # Of words after a prompt's end PyTorch's see each other less.
            full = expected["attention_mask"].all(axis=1) if name == "text" else slice(None)
            norms = (norm[:, 0][full] for norm in (found, wanted))
            np.testing.assert_allclose(*norms, rtol=net.NORM_LIMIT, err_msg=each)
            limit = net.ENTRY_LIMIT * wanted[:, :1] / found[:, 7:]
            assert (np.abs(found[:, :7] - wanted)[:, 1:] <= limit).all(), each
    compare(rows["vision"], expected["image"])
    compare(rows["text"], expected["text"])
    logits = towers.scale * rows["vision"] @ rows["text"].T
    np.testing.assert_allclose(logits, expected["logits_per_image"], rtol=0, atol=LOGIT_LIMIT)
    if size:  # what is called does the same as its stages
        for name, tower in (("vision", towers.media), ("text", towers.text)):
            module = tower.network().module(tower.variables)
            found = jax.jit(lambda x, module=module: module(x))(inputs(size)[name])
            np.testing.assert_allclose(found, rows[name], rtol=1e-5, atol=1e-6)


def test_the_ids_behind_the_golden_numbers_are_those_of_the_prompts():
    wanted = np.full((25, 11), 49407)
    for row, words in zip(wanted, PROMPTS.split("|"), strict=True):
        ids = [49406, 320, 1125, 539, *map(int, words.split()), 269]
        row[: len(ids)] = ids
    np.testing.assert_array_equal(golden("")["token_ids"], wanted)


def small(**kinds) -> dict[str, tuple]:
    """The module of each small tower, its input and its golden rows."""
    towers = read_clip(states.hugging_face(), "x", heads=states.HEADS)
    rows = inputs("small/")
    return {
        "vision": (towers.media.network(**kinds), towers.media, rows["vision"], "image"),
        "text": (towers.text.network(**kinds), towers.text, rows["text"], "text"),
    }


def exact_gelu(_, patch):
    patch.setattr(clip, "quick_gelu", lambda x: jax.nn.gelu(x, approximate=False))


def epsilon(module, _):
    norms = [norm for block in module.blocks for norm in (block.norm1, block.norm2)]
    for norm in (
        *norms,
        module.post_norm,
        *([module.pre_norm] if "pre_norm" in vars(module) else []),
    ):
        norm.epsilon = 1e-6


def swap_pixels(module, _):
    kernel = module.patches.kernel
    kernel[...] = kernel[...].transpose(1, 0, 2, 3)


def swap_patches(module, _):
    order = np.arange(16).reshape(4, 4).T.ravel() + 1
    module.positions[...] = module.positions[...][np.array([0, *order])]


def see_all(_, patch):
    call = clip.Block.__call__
    patch.setattr(clip.Block, "__call__", lambda self, x, bias=None: call(self, x))


def last_end(_, patch):
    last = lambda ids, axis: ids.shape[1] - 1 - jnp.flip(ids, 1).argmax(axis)  # noqa: E731
    patch.setattr(clip.jnp, "argmax", last)


MISTAKES = [(tower, mistake) for tower in ("vision", "text") for mistake in (exact_gelu, epsilon)]
MISTAKES += [("vision", swap_pixels), ("vision", swap_patches)]
MISTAKES += [("text", see_all), ("text", last_end)]


@pytest.mark.parametrize(("tower", "mistake"), MISTAKES)
def test_a_mistake_would_leave_the_limits(tower, mistake, monkeypatch):
    network, made, x, name = small()[tower]
    module = network.module(made.variables)
    mistake(module, monkeypatch)
    found = np.asarray(jax.jit(lambda x: module(x))(x))
    assert net.l2_error(found, golden("small/")[name]) > 10 * net.L2_LIMIT


@pytest.mark.parametrize("precision", NAMES)
@pytest.mark.parametrize("tower", ["vision", "text"])
def test_every_product_has_the_precision(tower, precision):
    network, _, x, _ = small(precision=precision)[tower]
    for ours in ("bfloat16", "float32"):
        with jax.default_matmul_precision(ours):
            products = net.precisions_of(network, x)
        assert len(products) > 12
        assert all(each == [NAMES[precision]] * 2 for _, each in products)


@pytest.mark.parametrize("tower", ["vision", "text"])
def test_bfloat16_is_near_float32(tower):
    network, made, x, name = small(dtype="bfloat16")[tower]
    found = np.asarray(jax.jit(lambda v, x: network.module(v)(x))(made.variables, x))
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-6)
    assert 1e-4 < net.l2_error(found, golden("small/")[name]) < 0.05


def test_pictures_are_normalised_by_channel():
    network, made, _, _ = small()["vision"]
    module = network.module(made.variables)
    x = np.random.default_rng(0).random((2, 56, 56, 3), np.float32)
    normal = (x - np.array([0.48145466, 0.4578275, 0.40821073])) / np.array(
        [0.26862954, 0.26130258, 0.27577711]
    )
    np.testing.assert_allclose(
        module.features(jnp.asarray(x)), module(jnp.asarray(normal, "f4")), atol=1e-5
    )


def test_what_follows_the_end_of_a_prompt_does_not_matter():
    network, made, x, _ = small()["text"]
    module = network.module(made.variables)
    found = module(jnp.asarray([[298, 5, 9, 299, 299, 299], [298, 5, 9, 299, 7, 299]]))
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)
    np.testing.assert_allclose(module(jnp.asarray([[298, 5, 9, 299]]))[0], found[0], atol=1e-6)
