"""MM-CSE's encoder: the classes of a segment attend to one another, in and across modalities.

Zhao et al., AAAI 2025. Time enters through the relevance of segments alone.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from avvp_jax.nn.attention import Attention
from avvp_jax.nn.class_features import ClassFeatures
from avvp_jax.nn.cosines import cosine
from avvp_jax.nn.dropout import Dropout
from avvp_jax.nn.hybrid import copies, through_layers
from avvp_jax.nn.layers import Arithmetic, layer_norm, linear
from avvp_jax.nn.time_mask import Lengths, present

# Features of each class in both modalities, audio first.
ClassPair = Float[Array, "videos 2 segments classes part"]
# How much each class, a row, attends to each of them.
ClassMap = Float[Array, "videos segments classes classes"]
PairMaps = Float[Array, "videos 2 segments classes classes"]


class Relevance(nnx.Module):
    """Adds to every segment what a class is like in the whole video, as far as it is like that.

    Args:
      shared: whether one linear layer maps segments and what the video's mean is of.
    """

    def __init__(self, part: int, *, shared: bool, arithmetic: Arithmetic, rngs: nnx.Rngs):
        self.segment = linear(part, part, arithmetic=arithmetic, rngs=rngs)
        self.video = None if shared else linear(part, part, arithmetic=arithmetic, rngs=rngs)

    def __call__(
        self, own: ClassPair, attended: ClassPair, source: ClassPair, lengths: Lengths
    ) -> ClassPair:
        """`own`, and the mean over time of `source`, weighted by how `attended` is like it."""
        to_video = self.segment if self.video is None else self.video
        of_video = jax.nn.relu(to_video(source))
        there = present(lengths, of_video, axis=2)
        of_video = of_video.mean(axis=2, keepdims=True, where=there)
        relevant = jax.nn.sigmoid(cosine(jax.nn.relu(self.segment(attended)), of_video))
        return own + relevant[..., None].astype(own.dtype) * of_video


class ClassLayer(nnx.Module):
    """Updates the features of each class in both modalities; both directions share weights.

    What attention gives acts through relevance alone: what relevance adds to is the layer's input.
    """

    def __init__(
        self,
        part: int,
        heads: int,
        feed_forward: int,
        *,
        dropout: float,
        arithmetic: Arithmetic,
        rngs: nnx.Rngs,
    ):
        made = {"arithmetic": arithmetic, "rngs": rngs}
        self.self_attention = Attention(part, heads, dropout=dropout, **made)
        self.cross_attention = Attention(part, heads, dropout=dropout, **made)
        self.self_relevance = Relevance(part, shared=False, **made)
        self.cross_relevance = Relevance(part, shared=True, **made)
        self.of_self = linear(part, part, **made)
        self.of_other = linear(part, part, **made)
        self.norm1 = layer_norm(part, dtype=arithmetic.dtype, rngs=rngs)
        self.linear1 = linear(part, feed_forward, **made)
        self.linear2 = linear(feed_forward, part, **made)
        self.dropout = dropout

    def __call__(self, pair: ClassPair, drop: Dropout, lengths: Lengths = None) -> ClassPair:
        """Both modalities after this layer; each attends to the other's input to it."""
        return self.with_maps(pair, drop, lengths)[0]

    def with_maps(
        self, pair: ClassPair, drop: Dropout, lengths: Lengths = None
    ) -> tuple[ClassPair, PairMaps, PairMaps]:
        """Also the weights of attention to the own and to the other modality, after dropout."""
        to_self, self_map = self.self_attention.to_itself(pair, drop, weights=True)
        to_other, cross_map = self.cross_attention.to_each_other(pair, drop, weights=True)
        attended = pair + to_self
        of_self = self.self_relevance(pair, attended, attended, lengths)
        of_other = self.cross_relevance(pair, pair + to_other, pair[:, ::-1], lengths)
        x = self.norm1(self.of_self(of_self) + self.of_other(of_other))
        hidden = drop(jax.nn.relu(self.linear1(x)), self.dropout)
        return self.linear2(hidden), self_map, cross_map

    def entries(self, segments: int, classes: int) -> int:
        """How many numbers of a video are dropped or kept."""
        if not self.dropout:
            return 0
        attended = 2 * self.self_attention.heads * classes**2
        return 2 * segments * (attended + classes * self.linear1.out_features)


class ClassEncoder(nnx.Module):
    """A stack of class layers, which start as copies of the first one."""

    def __init__(
        self,
        part: int,
        heads: int,
        feed_forward: int,
        layers: int,
        *,
        dropout: float,
        arithmetic: Arithmetic,
        rngs: nnx.Rngs,
    ):
        made = {"dropout": dropout, "arithmetic": arithmetic, "rngs": rngs}
        self.layers = copies(ClassLayer(part, heads, feed_forward, **made), layers)

    def __call__(
        self,
        audio: ClassFeatures,
        visual: ClassFeatures,
        key: PRNGKeyArray | None = None,
        lengths: Lengths = None,
    ) -> tuple[ClassFeatures, ClassFeatures, dict[str, ClassMap]]:
        """Both modalities after all layers, and the last layer's weights of attention.

        Args:
          key: for dropout; None in evaluation.
          lengths: of the videos, in segments.

        Returns:
          The maps by modality of the query and of what it attends to: audio_audio,
          visual_visual, audio_visual and visual_audio.
        """
        *first, last = self.layers
        entries = last.entries(*audio.shape[1:3])
        drop = Dropout.drawn(key, len(audio), entries * len(self.layers))

        def update(layer: ClassLayer, pair: ClassPair, drop: Dropout) -> tuple[ClassPair]:
            return (layer(pair, drop, lengths),)

        pair = (jnp.stack([audio, visual], axis=1),)
        (pair,) = through_layers(first, update, pair, drop, entries)
        own_drop = drop.part(len(first) * entries, entries)
        pair, to_self, to_other = last.with_maps(pair, own_drop, lengths)
        maps = {"audio_audio": to_self[:, 0], "visual_visual": to_self[:, 1]}
        maps |= {"audio_visual": to_other[:, 0], "visual_audio": to_other[:, 1]}
        return pair[:, 0], pair[:, 1], maps
