"""Weights of CLAP: both layouts of one set of numbers, and what is refused."""

import functools

import jax
import ml_dtypes
import numpy as np
import pytest
import recipe_extract as recipe

from avvp_jax.encoders.clap_files import read_clap
from avvp_jax.errors import UserError
from tests.encoders import networks as net

# laion's words -> Hugging Face's, in the order in which they are exchanged.
HUGGING_FACE = {
    "module.": "",
    "audio_branch.": "audio_model.audio_encoder.",
    "text_branch.": "text_model.",
    "bn0": "batch_norm",
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "attn.proj": "attention.output.dense",
    "attn.relative": "attention.self.relative",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
    "projection.0": "projection.linear1",
    "projection.2": "projection.linear2",
}


@functools.cache
def drawn() -> dict[str, np.ndarray]:
    return recipe.weights(net.SHAPES["small/clap"], net.SEED)


def laion() -> dict[str, np.ndarray]:
    """As in laion's file, with what follows from sizes."""
    shapes = net.SHAPES["small/clap"]
    derived = {n: np.zeros(shape, "i8") for n, shape in shapes.items() if not recipe.drawn(n)}
    return drawn() | derived


def hugging_face() -> dict[str, np.ndarray]:
    found = {}
    for name, value in laion().items():
        if any(x in name for x in ("_extractor", "tscam_conv", "head", "_transform", "attn_mask")):
            continue
        for theirs, ours in HUGGING_FACE.items():
            name = name.replace(theirs, ours)
        if "attn.qkv" in name:
            thirds = zip(("query", "key", "value"), np.split(value, 3), strict=True)
            found |= {name.replace("attn.qkv", f"attention.self.{n}"): x for n, x in thirds}
        else:
            found[name] = value
    ids = np.arange(24)[None]
    return found | {"text_model.embeddings.position_ids": ids, "text_model.x.token_type_ids": ids}


def without_prefix() -> dict[str, np.ndarray]:
    return {name.removeprefix("module."): value for name, value in laion().items()}


def assert_same(found, wanted) -> None:
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    jax.tree.map(np.testing.assert_array_equal, found, wanted)


@pytest.mark.parametrize("layout", [without_prefix, hugging_face])
def test_every_layout_gives_the_same_towers(layout):
    wanted, nothing = read_clap(laion(), "x.pt")
    found, note = read_clap(layout(), "x.pt")
    assert nothing is None
    assert (note or "").startswith("Hugging Face") == (layout is hugging_face)
    for ours, theirs in zip(found[:2], wanted[:2], strict=True):
        assert ours[:2] == theirs[:2]
        assert_same(ours.variables, theirs.variables)
    assert found.scale == wanted.scale


@pytest.mark.golden
def test_the_scale_of_logits_is_the_measured_one():
    scale = read_clap(laion(), "x.pt", text=False)[0].scale
    assert scale == pytest.approx(np.load(net.FOLDER / "clap_text.npz")["logit_scale_a_exp"])


@pytest.mark.parametrize("layout", [laion, hugging_face])
def test_without_text_its_tensors_are_not_looked_at(layout):
    state = {
        n: None if n.removeprefix("module.")[:5] == "text_" else x for n, x in layout().items()
    }
    found, _ = read_clap(state, "x.pt", text=False)
    assert found.text is None
    assert_same(found.media.variables, read_clap(layout(), "x.pt")[0].media.variables)


def test_the_published_files_have_the_published_sizes():
    empty = np.float32(0)
    state = {n: np.broadcast_to(empty, shape) for n, shape in net.SHAPES["clap"].items()}
    (media, text, _), _ = read_clap(state, "x.pt")
    assert media.arguments == (96, (2, 2, 6, 2), (4, 8, 16, 32), 512)
    assert text.arguments == (50_265, 514, 768, 12, 12, 3072, 512)
    # Other arguments would have been refused; those that are left out mean the same.
    assert media.kind.__name__ == "HTSAT"
    assert media._replace(arguments=()).network().shapes() == media.network().shapes()
    assert text._replace(arguments=()).network().shapes() == text.network().shapes()


@pytest.mark.parametrize("dtype", ["f2", "f8", ml_dtypes.bfloat16])
def test_other_kinds_of_floats_become_float32(dtype):
    state = {n: x.astype(dtype) for n, x in laion().items()}
    found = read_clap(state, "x.pt", text=False)[0].media.variables
    name = "module.audio_branch.norm.bias"
    np.testing.assert_array_equal(
        found["params"]["norm"]["bias"], state[name].astype(np.float32), strict=True
    )


def without(name):
    return lambda state: {n: x for n, x in state.items() if n != name}


def changed(name, change):
    return lambda state: state | {name: np.asarray(change(state[name]))}


AUDIO, TEXT = "module.audio_branch", "module.text_branch"
HF = "audio_model.audio_encoder"
UNFIT = {
    "no first patch": (laion, without(f"{AUDIO}.patch_embed.proj.weight"), "lacks {}"),
    "no qkv": (laion, without(f"{AUDIO}.layers.2.blocks.1.attn.qkv.weight"), "lacks {}"),
    "no table": (
        laion,
        without(f"{AUDIO}.layers.0.blocks.0.attn.relative_position_bias_table"),
        "lacks {}",
    ),
    "no words": (laion, without(f"{TEXT}.embeddings.word_embeddings.weight"), "lacks {}"),
    "no scale": (laion, without("module.logit_scale_a"), "lacks {}"),
    "no key": (
        hugging_face,
        without(f"{HF}.layers.1.blocks.0.attention.self.key.bias"),
        "lacks {}",
    ),
    "something else": (laion, lambda s: s | {f"{AUDIO}.x": np.ones(2)}, "has unknown .*branch.x"),
    "nothing": (laion, lambda s: {}, "lacks audio_branch"),
    "of another network": (laion, lambda s: {"fc.weight": np.ones(2)}, "lacks audio_branch"),
    "a wide query": (
        hugging_face,
        changed(f"{HF}.layers.0.blocks.1.attention.self.query.weight", lambda x: x[:5]),
        r"{} is \(5, 16\), the network needs \(16, 16\)",
    ),
    "a short table": (
        laion,
        changed(f"{AUDIO}.layers.1.blocks.0.attn.relative_position_bias_table", lambda x: x[:169]),
        r"{} is \(169, 2\)",
    ),
    "heads that do not divide": (
        laion,
        changed(
            f"{AUDIO}.layers.0.blocks.0.attn.relative_position_bias_table",
            lambda x: np.ones((225, 5), "f4"),
        ),
        r"{} is \(225, 5\)",
    ),
    "a scalar for a matrix": (
        laion,
        changed(f"{AUDIO}.patch_embed.proj.weight", lambda x: np.float32([1])),
        "do not fit",
    ),
    "words of no width": (
        laion,
        changed(f"{TEXT}.embeddings.word_embeddings.weight", lambda x: x[:, :0]),
        r"{} is \(200, 0\)",
    ),
    "integers": (laion, changed(f"{AUDIO}.norm.bias", lambda x: x.astype("i4")), "{} is of int32"),
    "NaN": (laion, changed(f"{TEXT}.pooler.dense.bias", lambda x: x * np.nan), "{} has NaN"),
    "infinity": (
        hugging_face,
        changed("audio_projection.linear2.weight", lambda x: x * np.inf),
        "{} has NaN or infinity",
    ),
    "an endless scale": (
        laion,
        changed("module.logit_scale_a", lambda x: x * 1e6),
        "logit_scale_a",
    ),
}


@pytest.mark.parametrize("case", UNFIT)
def test_a_state_that_does_not_fit_is_refused(case):
    layout, change, says = UNFIT[case]
    before = layout()
    after = change(before)
    names = [n for n in before if n not in after or after[n] is not before[n]]
    with pytest.raises(UserError, match=says.replace("{}", names[0] if names else "")) as told:
        read_clap(after, "x.pt")
    said = str(told.value)
    assert said.startswith("x.pt: ") and "use the published file" in said and "\n" not in said
    assert len(said) < 1500
