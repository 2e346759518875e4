"""LEAP: a parser that decodes streams by the names of the classes.

Zhou et al., "Label-Anticipated Event Disentanglement for Audio-Visual Video Parsing", ECCV 2024.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from avvp_jax.nn.dropout import NO_DROPOUT, Dropout
from avvp_jax.nn.layers import Arithmetic, linear
from avvp_jax.nn.parser import Features, VisualTokens
from avvp_jax.nn.pyramid import PyramidEncoder, Stream
from avvp_jax.nn.query_attention import QueryBlock, Sizes
from avvp_jax.nn.time_mask import Lengths, cleared, present
from avvp_jax.task import MODALITIES

THRESHOLD = 0.5  # of the probability of a modality, from which a class is in the video
Labels = Float[Array, "videos classes width"]


class Given(nnx.Variable):
    """A variable that is neither drawn nor trained: what a network is given once for all videos."""


class LabelDecoder(nnx.Module):
    """Decodes a stream by queries of classes; each modality has layers of its own.

    All layers start equal.
    """

    def __init__(self, sizes: Sizes, layers: int, *, rngs: nnx.Rngs):
        first = QueryBlock(sizes, rngs=rngs)
        self.audio_layers, self.visual_layers = (
            nnx.List([nnx.clone(first) for _ in range(layers)]) for _ in range(2)
        )

    def __call__(
        self,
        modality: str,
        labels: Float[Array, "1 classes width"],
        stream: Stream,
        drop: Dropout = NO_DROPOUT,
        lengths: Lengths = None,
    ) -> tuple[Labels, Float[Array, "videos segments classes"]]:
        """What each class finds in the stream of a modality, and the logits of its segments.

        The logits are not the last layer's attention: an attended query, which is not normalised,
        looks a second time, and its raw scores are averaged over heads.
        """
        layers = self.audio_layers if modality == "audio" else self.visual_layers
        seen = present(lengths, stream[:, None, None, :, 0], axis=3)
        for layer in layers:
            attended = layer.attended(labels, stream, seen, drop)
            labels = layer.fed(attended, drop)
        logits = layer.attention.scores(attended, stream).mean(axis=1)
        return labels, jnp.swapaxes(logits, 1, 2)

    def entries(self, classes: int, segments: int) -> int:
        """How many numbers of a video are dropped or kept."""
        layers = [*self.audio_layers, *self.visual_layers]
        return sum(layer.entries(classes, segments) for layer in layers)


class LabelParser(nnx.Module):
    """LEAP on the pyramid encoder.

    Its label embeddings are among the variables, as `label_embeddings`, but neither parameters nor
    drawn: they are zeros until they are put in, and stay with the model from then on.

    Args:
      stream_widths: widths of the audio, visual and snippet features.
      classes: number of classes.
      width, heads, feed_forward, dropout, attention_dropout: see query_attention.Sizes.
      levels: of the pyramid; each looks twice as far as the one before.
      layers: of the decoder, for each modality.
      label_width: of the label embeddings.
      dtype, precision: as in Parser.
    """

    def __init__(
        self,
        stream_widths: tuple[int, int, int],
        classes: int,
        *,
        width: int,
        heads: int,
        feed_forward: int,
        levels: int,
        layers: int,
        label_width: int,
        dropout: float,
        attention_dropout: float,
        dtype: str,
        precision: str,
        rngs: nnx.Rngs,
    ):
        audio_width, visual_width, snippet_width = stream_widths
        compute = Arithmetic.named(dtype, precision)
        sizes = Sizes(width, heads, feed_forward, dropout, attention_dropout, compute)
        self.fc_a = linear(audio_width, width, arithmetic=compute, rngs=rngs)
        self.visual_tokens = VisualTokens(
            visual_width, snippet_width, width, arithmetic=compute, rngs=rngs
        )
        self.pyramid = PyramidEncoder(sizes, levels, rngs=rngs)
        self.label_embeddings = Given(jnp.zeros((classes, label_width), jnp.float32))
        self.fc_l = linear(label_width, width, arithmetic=compute, rngs=rngs)
        self.decoder = LabelDecoder(sizes, layers, rngs=rngs)
        self.fc_la, self.fc_lv = (linear(width, 1, arithmetic=compute, rngs=rngs) for _ in range(2))
        self.arithmetic = compute

    def __call__(
        self, features: Features, key: PRNGKeyArray | None = None, *, lengths: Lengths = None
    ) -> PyTree[Float[Array, "videos ..."]]:
        """Parses a batch of videos.

        Args:
          features: `audio`, `visual` and `snippet`, pooled to segments.
          key: for dropout; None in evaluation.
          lengths: how many segments of each video are there, see Parser.

        Returns:
          frame_prob [videos, segments, 2, classes], 0 in segments that are not there; audio_prob
          and visual_prob [videos, classes]; global_prob, 1 where one of these reaches a half and
          else 0, without a gradient; audio_stream and visual_stream [videos, segments, width] after
          the encoder; audio_labels and visual_labels [videos, classes, width] after the decoder.
        """
        features = cleared(features, lengths)
        audio = self.fc_a(features["audio"])
        visual = self.visual_tokens(features["visual"], features["snippet"])
        videos, segments = audio.shape[:2]
        entries = self.pyramid.entries(segments)
        entries += self.decoder.entries(len(self.label_embeddings), segments)
        drop = Dropout.drawn(key, videos, entries)
        audio, visual = self.pyramid(audio, visual, drop, lengths)
        names = self.fc_l(self.label_embeddings[...])[None]
        output = {"audio_stream": audio, "visual_stream": visual}
        frames = []
        for modality, head in zip(MODALITIES, (self.fc_la, self.fc_lv), strict=True):
            stream = output[f"{modality}_stream"]
            labels, logits = self.decoder(modality, names, stream, drop, lengths)
            output[f"{modality}_labels"] = labels
            output[f"{modality}_prob"] = _sigmoid(head(labels)[:, :, 0])
            frames.append(cleared(_sigmoid(logits), lengths))
        either = jnp.maximum(output["audio_prob"], output["visual_prob"]) >= THRESHOLD
        return output | {
            "frame_prob": jnp.stack(frames, axis=2),
            "global_prob": either.astype(jnp.float32),
        }


def _sigmoid(logits: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return jax.nn.sigmoid(logits.astype(jnp.float32))
