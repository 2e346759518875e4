"""Weights of CLAP as published, by laion and by Hugging Face, to the two towers."""

import math
import re
from collections.abc import Mapping

import jax
import numpy as np

from avvp_jax.encoders import htsat, roberta
from avvp_jax.encoders.published import from_published
from avvp_jax.encoders.towers import Tower, Towers
from avvp_jax.errors import UserError

HEAD = 64  # numbers in each head's part of the width of RoBERTa
# Those of HTSAT and RoBERTa as published, but for heads that follow from the width.
_SOUND_SIZES = (96, (2, 2, 6, 2), (4, 8, 16, 32), 512)
_TEXT_SIZES = (50_265, 514, 768, 12, 3072, 512)
NOTE = "Hugging Face's layout: not the weights that VALOR used"
_SCALE = "logit_scale_a"
# What no output depends on: tensors of the fusion of longer sounds, of classes, of the other
# direction of the training, and what follows from sizes.
_UNUSED = re.compile(
    r"(^|\.)(mel_conv2d|fusion_model|tscam_conv|head|audio_transform|text_transform|logit_scale_t|"
    r"spectrogram_extractor|logmel_extractor|relative_position_index|attn_mask|position_ids|"
    r"token_type_ids|num_batches_tracked)(\.|$)"
)
_TEXT = re.compile(r"(module\.)?(text_branch|text_model|text_projection)\.")
_APART = "{query,key,value}"

# Ours -> the published ones, see published.Encoder.
_BOTH = {
    "text.layers": "text.encoder.layer",
    "text.pooler": "text.pooler.dense",
    "embeddings.words.embedding": "embeddings.word_embeddings.weight",
    "embeddings.positions.embedding": "embeddings.position_embeddings.weight",
    "embeddings.kinds.embedding": "embeddings.token_type_embeddings.weight",
    "embeddings.norm": "embeddings.LayerNorm",
    "attention.in_proj_": f"attention.self.{_APART}.",
    "attention.out_proj": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "feed.fc1": "intermediate.dense",
    "feed.fc2": "output.dense",
    "feed_norm": "output.LayerNorm",
}
_LAION = _BOTH | {
    "attn.in_proj_": "attn.qkv.",
    "attn.out_proj": "attn.proj",
    "position_bias": "attn.relative_position_bias_table",
    "audio.projection.fc1": "audio_projection.0",
    "audio.projection.fc2": "audio_projection.2",
    "text.projection.fc1": "text_projection.0",
    "text.projection.fc2": "text_projection.2",
    "audio.": "audio_branch.",
    "text.": "text_branch.",
}
_HUGGING_FACE = _BOTH | {
    "attn.in_proj_": f"attention.self.{_APART}.",
    "attn.out_proj": "attention.output.dense",
    "position_bias": "attention.self.relative_position_bias_table",
    "bn0": "batch_norm",
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
    "audio.projection.fc": "audio_projection.linear",
    "text.projection.fc": "text_projection.linear",
    "audio.": "audio_model.audio_encoder.",
    "text.": "text_model.",
}


def read_clap(
    state: Mapping[str, np.ndarray], path: str, text: bool = True
) -> tuple[Towers, str | None]:
    """The towers of a published CLAP whose audio tower is an HTS-AT; all sizes are the tensors'.

    Args:
      state: name -> tensor, of laion's file or of Hugging Face's, of any floating kind.
      path: of the file, for messages.
      text: whether the text tower is wanted. Else its tensors are not looked at.

    Returns:
      The towers, and what there is to say about the file, or None.

    Raises:
      UserError: tensors are missing, unknown, of other shapes or kinds, or not finite.
    """
    hugging_face = any(name.startswith("audio_model.") for name in state)
    words = _HUGGING_FACE if hugging_face else _LAION
    if any(name.startswith("module.") for name in state):
        words = words | {
            "audio_": "module.audio_",
            "text_": "module.text_",
            _SCALE: f"module.{_SCALE}",
        }
    used = {
        name: state[name]
        for name in state
        if not _UNUSED.search(name) and (text or not _TEXT.match(name))
    }
    sizes = _Sizes(used)
    towers = {"audio": Tower(htsat.HTSAT, sizes.audio(), {})}
    if text:
        towers["text"] = Tower(roberta.RoBERTa, sizes.text(), {})
    shapes = {name: tower.network().shapes() for name, tower in towers.items()}
    params = {name: of["params"] for name, of in shapes.items()}
    template = {
        "params": params | {_SCALE: jax.ShapeDtypeStruct((), np.float32)},
        "stats": {"audio": shapes["audio"]["stats"]},
    }
    found = from_published(used, template, words, (), path)
    for name, tower in towers.items():
        variables = {kind: found[kind].get(name, {}) for kind in ("params", "stats")}
        towers[name] = tower._replace(variables=variables)
    scale = _scale(found["params"][_SCALE], path)
    return Towers(towers["audio"], towers.get("text"), scale), NOTE if hugging_face else None


def _scale(logarithm: np.ndarray, path: str) -> float:
    with np.errstate(over="ignore"):
        scale = float(np.exp(logarithm))
    if not math.isfinite(scale):
        raise UserError(
            f"{path}: {_SCALE} is the logarithm of no float32 number; use the published file"
        )
    return scale


class _Sizes:
    """The arguments of the towers, read from the shapes of a file's tensors.

    What cannot be read from them is as published, so that comparing with the network's tensors
    says what is wrong.
    """

    def __init__(self, state: Mapping[str, np.ndarray]):
        self.shapes = {name: np.shape(value) for name, value in state.items()}

    def audio(self) -> tuple:
        width, depths, heads, joint = _SOUND_SIZES
        width = self._size(r"patch_embed\.proj\.weight$", 0, width)
        stages = [rf"\blayers\.{stage}\.blocks" for stage in range(len(depths))]
        counts = [self._count(rf"{stage}\.(\d+)\.") for stage in stages]
        depths = tuple(count or depths[stage] for stage, count in enumerate(counts))
        tables = [rf"{stage}\.0\..*relative_position_bias_table$" for stage in stages]
        found = [self._size(table, 1, heads[stage]) for stage, table in enumerate(tables)]
        if not any((width << stage) % count for stage, count in enumerate(found)):
            heads = tuple(found)
        joint = self._size(r"\baudio_projection\.(0|linear1)\.weight$", 0, joint)
        return width, depths, heads, joint

    def text(self) -> tuple:
        vocabulary, positions, width, layers, hidden, joint = _TEXT_SIZES
        vocabulary = self._size(r"\bword_embeddings\.weight$", 0, vocabulary)
        positions = self._size(r"\bposition_embeddings\.weight$", 0, positions)
        width = self._size(r"\bword_embeddings\.weight$", 1, width)
        layers = self._count(r"\bencoder\.layer\.(\d+)\.") or layers
        hidden = self._size(r"\bencoder\.layer\.0\.intermediate\.dense\.weight$", 0, hidden)
        joint = self._size(r"\btext_projection\.(0|linear1)\.weight$", 0, joint)
        return vocabulary, positions, width, layers, max(1, width // HEAD), hidden, joint

    def _size(self, name: str, axis: int, published: int) -> int:
        """A size of the tensor of that name, a regular expression."""
        shapes = (shape for each, shape in self.shapes.items() if re.search(name, each))
        shape = next(shapes, ())
        return shape[axis] if axis < len(shape) and shape[axis] else published

    def _count(self, name: str) -> int:
        """How many different numbers stand at a place in names."""
        found = (re.search(name, each) for each in self.shapes)
        return len({match[1] for match in found if match})
