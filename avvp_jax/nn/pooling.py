"""Attentive multimodal multiple-instance learning (MMIL) pooling, from segments to a video.

Tian, Li and Xu, ECCV 2020, section 4.3 (HAN).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PyTree

from avvp_jax.nn.layers import Arithmetic, linear
from avvp_jax.nn.time_mask import Lengths, cleared, present

# The probabilities that a parser can output; DHHN's result has no global_prob.
PROBABILITIES = ("frame_prob", "global_prob", "audio_prob", "visual_prob")

Stream = Float[Array, "videos segments width"]
# As MMIL takes it: a head may read the same of all classes, or of each class its own.
Pooled = Float[Array, "videos segments *classes width"]


class SegmentScores(NamedTuple):
    """Scores of segments, always float32; the axis `modalities` may be absent.

    Attributes:
      logits: class logits.
      prob: class probabilities; 0 in segments that are not there.
      share: what a segment contributes to its video's probability, which is their sum over time.
    """

    logits: Float[Array, "videos segments *modalities classes"]
    prob: Float[Array, "videos segments *modalities classes"]
    share: Float[Array, "videos segments *modalities classes"]


def segment_scores(
    x: Float[Array, "videos segments ..."],
    classifier: Callable,
    attention: Callable,
    lengths: Lengths = None,
) -> SegmentScores:
    """Class scores of segments, with attention weights over time applied to `share`."""
    logits = classifier(x).astype(jnp.float32)
    prob = cleared(jax.nn.sigmoid(logits), lengths)
    weight = attention(x).astype(jnp.float32)
    weight = jax.nn.softmax(weight, axis=1, where=present(lengths, weight))
    return SegmentScores(logits, prob, weight * prob)


class SegmentPooling(nnx.Module):
    """Attentive pooling of one modality over time."""

    def __init__(self, width: int, classes: int, *, arithmetic: Arithmetic, rngs: nnx.Rngs):
        self.fc_prob = linear(width, classes, arithmetic=arithmetic, rngs=rngs)
        self.fc_frame_att = linear(width, classes, arithmetic=arithmetic, rngs=rngs)

    def __call__(
        self, x: Stream, lengths: Lengths = None
    ) -> PyTree[Float[Array, "videos ... classes"]]:
        """frame_prob [videos, segments, classes] and prob [videos, classes]."""
        scores = segment_scores(x, self.fc_prob, self.fc_frame_att, lengths)
        return {"frame_prob": scores.prob, "prob": scores.share.sum(axis=1)}


class MMIL(nnx.Module):
    """Attentive pooling over time for each modality, and over time and modalities together.

    Args:
      head: (width, classes, arithmetic=, rngs=) -> a module that makes a logit for each class of
        what it is called with; see ClassHead for streams that have features of each class.
    """

    def __init__(
        self,
        width: int,
        classes: int,
        *,
        head: Callable[..., nnx.Module] = linear,
        arithmetic: Arithmetic,
        rngs: nnx.Rngs,
    ):
        self.fc_prob = head(width, classes, arithmetic=arithmetic, rngs=rngs)
        self.fc_frame_att = head(width, classes, arithmetic=arithmetic, rngs=rngs)
        self.fc_av_att = head(width, classes, arithmetic=arithmetic, rngs=rngs)

    def __call__(
        self, audio: Pooled, visual: Pooled, lengths: Lengths = None
    ) -> PyTree[Float[Array, "videos ... classes"]]:
        """Logits and probabilities, always float32.

        Args:
          lengths: of the videos, in segments.

        Returns:
          frame_logits and frame_prob [videos, segments, 2, classes]; global_prob, audio_prob
          and visual_prob [videos, classes].
        """
        x = jnp.stack([audio, visual], axis=2)
        scores = segment_scores(x, self.fc_prob, self.fc_frame_att, lengths)
        modal_weight = jax.nn.softmax(self.fc_av_att(x).astype(jnp.float32), axis=2)
        modality_prob = scores.share.sum(axis=1)
        return {
            "frame_logits": scores.logits,
            "frame_prob": scores.prob,
            "global_prob": (scores.share * modal_weight).sum(axis=(1, 2)),
            "audio_prob": modality_prob[:, 0],
            "visual_prob": modality_prob[:, 1],
        }
