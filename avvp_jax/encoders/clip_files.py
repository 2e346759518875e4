"""Weights of CLIP as published, by OpenAI and by Hugging Face, to the two towers."""

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np

from avvp_jax.encoders.clip import TextTower, VisionTower
from avvp_jax.encoders.published import from_published
from avvp_jax.encoders.towers import Tower, Towers
from avvp_jax.errors import UserError, first_ten

HEAD = 64  # numbers in each head's part of the width, in all that OpenAI published
_WIDEST = 1024  # wider ones are others', with heads of other widths and another GELU
_LAYERS = {512: 12, 768: 12, 1024: 24}  # width -> blocks, some of which a file may have lost
_WAY_OUT = (
    "use a published ViT of OpenAI's CLIP, such as clip-vit-large-patch14's model.safetensors or "
    "ViT-L-14.pt"
)


class _Layout(NamedTuple):
    """How a publisher names tensors.

    Attributes:
      words: ours -> the published ones, see published.Encoder.
      text: what the names of the text tower's begin with.
      unused: what those begin with that are no weights.
      layers: projections are weights of layers, [outputs, inputs].
    """

    words: Mapping[str, str]
    text: tuple[str, ...]
    unused: tuple[str, ...]
    layers: bool


OPENAI = _Layout(
    {
        "media.class_embedding": "visual.class_embedding",
        "media.positions": "visual.positional_embedding",
        "media.patches": "visual.conv1",
        "media.pre_norm": "visual.ln_pre",
        "media.post_norm": "visual.ln_post",
        "media.projection": "visual.proj",
        "media.blocks": "visual.transformer.resblocks",
        "text.words": "token_embedding.weight",
        "text.positions": "positional_embedding",
        "text.post_norm": "ln_final",
        "text.projection": "text_projection",
        "text.blocks": "transformer.resblocks",
        "attention": "attn",
        "linear1": "mlp.c_fc",
        "linear2": "mlp.c_proj",
        "norm1": "ln_1",
        "norm2": "ln_2",
    },
    ("token_embedding.", "positional_embedding", "ln_final.", "text_projection", "transformer."),
    ("input_resolution", "context_length", "vocab_size"),
    layers=False,
)
HUGGING_FACE = _Layout(
    {
        "media.class_embedding": "vision_model.embeddings.class_embedding",
        "media.positions": "vision_model.embeddings.position_embedding.weight",
        "media.patches": "vision_model.embeddings.patch_embedding",
        "media.pre_norm": "vision_model.pre_layrnorm",  # sic
        "media.post_norm": "vision_model.post_layernorm",
        "media.projection": "visual_projection",
        "media.blocks": "vision_model.encoder.layers",
        "text.words": "text_model.embeddings.token_embedding.weight",
        "text.positions": "text_model.embeddings.position_embedding.weight",
        "text.post_norm": "text_model.final_layer_norm",
        "text.projection": "text_projection",
        "text.blocks": "text_model.encoder.layers",
        "attention.in_proj_": "self_attn.{q_proj,k_proj,v_proj}.",
        "attention": "self_attn",
        "linear1": "mlp.fc1",
        "linear2": "mlp.fc2",
        "norm1": "layer_norm1",
        "norm2": "layer_norm2",
    },
    ("text_model.", "text_projection."),
    ("vision_model.embeddings.position_ids", "text_model.embeddings.position_ids"),
    layers=True,
)


def read_clip(
    state: Mapping[str, np.ndarray],
    path: str,
    text: bool = True,
    heads: tuple[int | None, int | None] = (None, None),
) -> Towers:
    """The towers of a published CLIP whose vision tower is a ViT; all sizes are the tensors'.

    Args:
      state: name -> tensor, of OpenAI's file or of Hugging Face's, of any floating kind.
      path: of the file, for messages.
      text: whether the text tower is wanted. Else its tensors are not looked at.
      heads: of the vision and the text tower; as published if not given.

    Raises:
      UserError: tensors are missing, unknown, of other shapes or kinds, or not finite.
    """
    layout = _layout_of(state, path)
    unused = layout.unused if text else layout.unused + layout.text
    towers = {"media": (VisionTower, _vision_sizes(state, layout, path, heads[0]))}
    if text:
        towers["text"] = (TextTower, _text_sizes(state, layout, path, heads[1]))
    made = {name: Tower(*tower, {}) for name, tower in towers.items()}
    template = {name: tower.network().shapes()["params"] for name, tower in made.items()}
    for tower in template.values() if layout.layers else ():
        tower["projection"] = {"kernel": tower["projection"]}
    template["logit_scale"] = jax.ShapeDtypeStruct((), np.float32)
    found = from_published(state, {"params": template, "stats": {}}, layout.words, unused, path)[
        "params"
    ]
    with np.errstate(over="ignore"):
        scale = float(np.exp(found.pop("logit_scale")))
    if not math.isfinite(scale):
        raise UserError(f"{path}: logit_scale is the logarithm of no float32 number; {_WAY_OUT}")
    for tower in found.values() if layout.layers else ():
        tower["projection"] = tower["projection"]["kernel"]
    made = {
        name: tower._replace(variables={"params": found[name], "stats": {}})
        for name, tower in made.items()
    }
    return Towers(made["media"], made.get("text"), scale)


def _layout_of(state: Mapping[str, np.ndarray], path: str) -> _Layout:
    if any(name.startswith("vision_model.") for name in state):
        return HUGGING_FACE
    if convolutions := [name for name in state if re.match(r"visual\.layer\d", name)]:
        raise UserError(
            f"{path}: its vision tower is a ResNet ({first_ten(sorted(convolutions))}), which is "
            f"not read; {_WAY_OUT}"
        )
    if any(name.startswith("visual.") for name in state):
        return OPENAI
    names = first_ten(sorted(state)) or "no tensor"
    raise UserError(f"{path}: not a CLIP: it has {names}; {_WAY_OUT}")


def _shape(state: Mapping, name: str, dims: int, path: str) -> tuple[int, ...]:
    """The shape of a tensor from which sizes are read."""
    if name not in state:
        raise UserError(f"{path}: not a whole CLIP: it lacks {name}; {_WAY_OUT}")
    shape = np.shape(state[name])
    if len(shape) != dims or 0 in shape:
        raise UserError(f"{path}: {name} is {shape}, which is of no CLIP; {_WAY_OUT}")
    return shape


def _vision_sizes(state: Mapping, layout: _Layout, path: str, heads: int | None) -> tuple:
    """The arguments of VisionTower."""
    words = layout.words
    width, _, patch, _ = _shape(state, f"{words['media.patches']}.weight", 4, path)
    steps, _ = _shape(state, words["media.positions"], 2, path)
    grid = math.isqrt(steps - 1)
    if grid**2 != steps - 1 or not grid:
        raise UserError(
            f"{path}: {words['media.positions']} has {steps} positions, which are not those of a "
            f"square picture and its class; {_WAY_OUT}"
        )
    blocks = _block_sizes(state, layout, "media", width, path, heads)
    return (width, *blocks, patch, grid * patch, _projection(state, layout, path))


def _text_sizes(state: Mapping, layout: _Layout, path: str, heads: int | None) -> tuple:
    """The arguments of TextTower."""
    vocabulary, width = _shape(state, layout.words["text.words"], 2, path)
    positions, _ = _shape(state, layout.words["text.positions"], 2, path)
    blocks = _block_sizes(state, layout, "text", width, path, heads)
    return (vocabulary, positions, width, *blocks, _projection(state, layout, path))


def _projection(state: Mapping, layout: _Layout, path: str) -> int:
    """The width of the space in which both towers end."""
    name = layout.words["media.projection"]
    if layout.layers:
        return _shape(state, f"{name}.weight", 2, path)[0]
    return _shape(state, name, 2, path)[1]


def _block_sizes(
    state: Mapping, layout: _Layout, tower: str, width: int, path: str, heads: int | None
) -> tuple[int, int, int]:
    """The number of a tower's blocks, their heads and the width of their feed-forward networks."""
    blocks = re.escape(layout.words[f"{tower}.blocks"])
    numbers = (re.match(rf"{blocks}\.(\d{{1,9}})\.", name) for name in state)
    layers = 1 + max((int(number[1]) for number in numbers if number), default=0)
    layers = min(layers, len(state))
    first = f"{layout.words[f'{tower}.blocks']}.0.{layout.words['linear1']}.weight"
    mlp, _ = _shape(state, first, 2, path)
    if heads is None:
        if width % HEAD or width > _WIDEST:
            raise UserError(
                f"{path}: its {first} is of a tower as wide as {width}, and known towers are as "
                f"wide as a multiple of {HEAD} up to {_WIDEST}; {_WAY_OUT}"
            )
        if layers != _LAYERS.get(width, layers):
            raise UserError(
                f"{path}: its last block is {layout.words[f'{tower}.blocks']}.{layers - 1}, and a "
                f"tower as wide as {width} has {_LAYERS[width]} blocks; {_WAY_OUT}"
            )
    return layers, heads or width // HEAD, mlp
