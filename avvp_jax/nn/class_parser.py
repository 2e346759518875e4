"""MM-CSE's parser: segment tokens, features of each class, their encoder, and MMIL pooling.

Zhao et al., "Multimodal Class-aware Semantic Enhancement Network for Audio-Visual Video Parsing",
AAAI 2025.
"""

from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from avvp_jax.nn.class_encoder import ClassEncoder
from avvp_jax.nn.class_features import ClassExtractor, ClassHead
from avvp_jax.nn.dropout import Dropout, keys_of_parts
from avvp_jax.nn.layers import Arithmetic, linear
from avvp_jax.nn.parser import Features, VisualTokens
from avvp_jax.nn.pooling import MMIL
from avvp_jax.nn.time_mask import Lengths, cleared


class ClassParser(nnx.Module):
    """A parser whose segments have features for each class.

    Args:
      stream_widths, classes, dtype, precision: as in Parser.
      width: of tokens.
      class_width: of the features of a class.
      heads, feed_forward, layers: of the encoder.
      dropout: rate of all dropout.
    """

    def __init__(
        self,
        stream_widths: tuple[int, int, int],
        classes: int,
        *,
        width: int,
        class_width: int,
        heads: int,
        feed_forward: int,
        layers: int,
        dropout: float,
        dtype: str,
        precision: str,
        rngs: nnx.Rngs,
    ):
        audio_width, visual_width, snippet_width = stream_widths
        made = {"arithmetic": Arithmetic.named(dtype, precision), "rngs": rngs}
        self.fc_a = linear(audio_width, width, **made)
        self.visual_tokens = VisualTokens(visual_width, snippet_width, width, **made)
        self.audio_classes, self.visual_classes = (
            ClassExtractor(width, class_width, classes, deep=deep, dropout=dropout, **made)
            for deep in (False, True)
        )
        self.encoder = ClassEncoder(
            class_width, heads, feed_forward, layers, dropout=dropout, **made
        )
        self.mmil = MMIL(class_width, classes, head=ClassHead, **made)

    def __call__(
        self, features: Features, key: PRNGKeyArray | None = None, *, lengths: Lengths = None
    ) -> PyTree[Float[Array, "videos ..."]]:
        """Parses a batch of videos.

        Args:
          features, key, lengths: as in Parser.

        Returns:
          MMIL's outputs, and what losses compare. For each modality: `tokens` and `rebuilt`
          [videos, segments, width], and `slots` [videos, segments, classes + 1, class_width], the
          features before the encoder, of the background last. `maps`: see ClassEncoder.
        """
        features, (slots_key, key) = cleared(features, lengths), keys_of_parts(key, 2)
        tokens = {
            "audio": self.fc_a(features["audio"]),
            "visual": self.visual_tokens(features["visual"], features["snippet"]),
        }
        extractors = {"audio": self.audio_classes, "visual": self.visual_classes}
        videos, segments, _ = tokens["audio"].shape
        entries = sum(each.entries(segments) for each in extractors.values())
        drop = Dropout.drawn(slots_key, videos, entries)
        found = {name: each(tokens[name], drop) for name, each in extractors.items()}
        slots = {name: each[1] for name, each in found.items()}
        audio, visual, maps = self.encoder(found["audio"][0], found["visual"][0], key, lengths)
        return self.mmil(audio, visual, lengths) | {
            "tokens": tokens,
            "slots": slots,
            "rebuilt": {name: each.rebuilt(slots[name]) for name, each in extractors.items()},
            "maps": maps,
        }
