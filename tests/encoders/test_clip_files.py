"""CLIP's weights as published, in both layouts, and what is refused."""

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from avvp_jax.encoders import clip, clip_files
from avvp_jax.encoders.clip_files import read_clip
from avvp_jax.encoders.published import published_names
from avvp_jax.errors import UserError
from avvp_jax.nn.functional import make_network
from tests.encoders import clip_states as states


@pytest.mark.parametrize("dtype", ["f4", "f2"])
def test_both_layouts_give_the_same_bits(dtype):
    ours = states.hugging_face()
    ours = {n: x.astype(dtype).astype("f4") if x.ndim > 1 else x for n, x in ours.items()}
    one = read_clip(ours, "x", heads=states.HEADS)
    two = read_clip(states.openai(ours, dtype), "y", heads=states.HEADS)
    assert one.scale == two.scale
    for a, b in ((one.media, two.media), (one.text, two.text)):
        assert a.arguments == b.arguments
        jax.tree.map(np.testing.assert_array_equal, a.variables, b.variables)
        assert {x.dtype for x in jax.tree.leaves(b.variables)} == {np.dtype("f4")}
    assert one.media.network() == two.media.network()


@pytest.mark.parametrize("layout", [dict, states.openai])
def test_the_text_tower_need_not_be_read(layout):
    whole = layout(states.hugging_face())
    state = {n: x for n, x in whole.items() if not n.startswith(("text_", "transformer."))}
    for left in (state, whole | {"text_projection.weight": np.zeros(3)}):
        towers = read_clip(left, "x", text=False, heads=states.HEADS)
        assert towers.text is None and towers.media.arguments == (64, 3, 4, 128, 14, 56, 32)
        assert towers.scale == pytest.approx(99.60629)


SIZES = {
    "ViT-B/32": ((768, 12, 12, 3072, 32, 224, 512), (49408, 77, 512, 12, 8, 2048, 512)),
    "ViT-B/16": ((768, 12, 12, 3072, 16, 224, 512), (49408, 77, 512, 12, 8, 2048, 512)),
    "ViT-L/14": (clip.LARGE_VISION, clip.LARGE_TEXT),
    "ViT-L/14@336px": ((1024, 24, 16, 4096, 14, 336, 768), clip.LARGE_TEXT),
    "made up": ((128, 2, 2, 96, 8, 24, 40), (90, 12, 64, 3, 1, 80, 40)),
}


@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_those_of_the_tensors(name, monkeypatch):
    """Of tensors that take no memory, whose numbers are not converted."""
    vision, text = SIZES[name]
    shapes = {
        "media": make_network(clip.VisionTower, *vision).shapes()["params"],
        "text": make_network(clip.TextTower, *text).shapes()["params"],
    }
    state = {"logit_scale": np.array(1, "f4")}
    for path, leaf in flatten_dict(shapes).items():
        shape = leaf.shape
        shape = (*shape[:-3:-1], *shape[:-2]) if path[-1] in ("kernel", "in_kernel") else shape
        (name,) = published_names(("params", *path), clip_files.OPENAI.words)
        state[name] = np.broadcast_to(np.float32(0), shape)
    monkeypatch.setattr(
        clip_files, "from_published", lambda *_: {"params": shapes | {"logit_scale": 1.0}}
    )
    towers = read_clip(state, "x")
    assert (towers.media.arguments, towers.text.arguments) == (vision, text)


def lack(*names):
    return lambda state: {n: x for n, x in state.items() if not n.startswith(names)}


def put(name, value):
    return lambda state: state | {name: value}


def nan(name):
    return lambda state: state | {name: np.where(state[name] > 0, np.nan, state[name])}


def cut(name, rows):
    return lambda state: state | {name: state[name][:rows]}


V, T = "vision_model.", "text_model."
# What is done to a file, and what is said of it.
REFUSED = {
    "empty": (lambda _: {}, "no tensor"),
    "another network": (lambda _: {"conv1.weight": np.zeros((4, 3, 7, 7), "f4")}, "conv1.weight"),
    "a tensor lost": (lack(f"{V}encoder.layers.1.mlp.fc1.bias"), "lacks vision_model.encoder.l"),
    "a query lost": (lack(f"{T}encoder.layers.0.self_attn.q_proj.weight"), "0.self_attn.q_proj.w"),
    "no projection": (lack("visual_projection"), "lacks visual_projection.weight"),
    "no scale": (lack("logit_scale"), "lacks logit_scale"),
    "no text": (lack(T, "text_projection"), "lacks text_model.embeddings.token_embedding.weight"),
    "no blocks": (lack(f"{V}encoder"), "lacks vision_model.encoder.layers.0.mlp.fc1.weight"),
    "a block lost": (lack(f"{V}encoder.layers.0.self"), "lacks vision_model.encoder.layers.0.self"),
    "unknown": (put(f"{V}head.probe", np.zeros(3, "f4")), "unknown vision_model.head.probe"),
    "far block": (put(f"{T}encoder.layers.99999999.x", np.zeros(3, "f4")), "layers.99999999.x"),
    "NaN": (nan(f"{V}encoder.layers.2.self_attn.k_proj.bias"), "2.self_attn.k_proj.bias has NaN"),
    "infinite scale": (put("logit_scale", np.array(100, "f4")), "logit_scale"),
    "misshapen": (cut(f"{T}encoder.layers.1.mlp.fc2.weight", 7), "fc2.weight is (7, 96)"),
    "misshapen query": (cut(f"{V}encoder.layers.1.self_attn.q_proj.weight", 7), "q_proj.weight is"),
    "patches": (put(f"{V}embeddings.patch_embedding.weight", np.zeros((4, 3), "f4")), "is (4, 3)"),
    "no position": (cut(f"{V}embeddings.position_embedding.weight", 0), "is (0, 64)"),
    "no square": (cut(f"{V}embeddings.position_embedding.weight", 12), "has 12 positions"),
    "one position": (cut(f"{V}embeddings.position_embedding.weight", 1), "has 1 positions"),
    "two spaces": (cut("text_projection.weight", 7), "text_projection.weight is (7, 48)"),
    "integers": (put("visual_projection.weight", np.zeros((32, 64), int)), "weight is of int64"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_clip_is_refused_in_one_line(what):
    change, said = REFUSED[what]
    refuse(change(states.hugging_face()), said, states.HEADS)


def refuse(state, said, heads):
    with pytest.raises(UserError) as told:
        read_clip(state, "x/model.safetensors", heads=heads)
    line = str(told.value)
    assert line.startswith("x/model.safetensors: ") and said in line and "\n" not in line
    assert "; use " in line and len(line) < 800


def test_names_in_a_message_are_those_of_the_file():
    state = states.openai(states.hugging_face())
    del state["visual.transformer.resblocks.1.attn.in_proj_bias"], state["text_projection"]
    refuse(state, "text_projection, visual.transformer.resblocks.1.attn.in_proj_bias", states.HEADS)


def test_a_resnet_is_refused():
    state = {f"visual.layer1.{n}.conv1.weight": np.zeros((4, 4, 1, 1), "f2") for n in range(3)}
    state |= {
        "visual.conv1.weight": np.zeros((4, 3, 3, 3), "f2"),
        "logit_scale": np.array(4.6, "f4"),
    }
    refuse(state, "is a ResNet (visual.layer1.0.conv1.weight", (None, None))


@pytest.mark.parametrize(("width", "said"), [(48, "as wide as 48"), (1280, "as wide as 1280")])
def test_heads_of_other_widths_are_not_guessed(width, said):
    state = states.hugging_face()
    state["vision_model.embeddings.patch_embedding.weight"] = np.zeros((width, 3, 14, 14), "f4")
    refuse(state, said, (None, None))


def test_a_tower_cut_short_is_refused():
    state = states.hugging_face()
    state["vision_model.embeddings.patch_embedding.weight"] = np.zeros((768, 3, 14, 14), "f4")
    refuse(state, "last block is vision_model.encoder.layers.2, and", (None, None))
