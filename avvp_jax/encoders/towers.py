"""Encoders of two kinds of things, media and text, that end in one space: CLIP and CLAP."""

from typing import NamedTuple

from flax import nnx

from avvp_jax.nn.functional import Network, Variables, make_network


class Tower(NamedTuple):
    """One of the encoders, as large as a file of weights says.

    Attributes:
      kind: its module.
      arguments: what the module is made with; they give all sizes.
      variables: float32.
    """

    kind: type[nnx.Module]
    arguments: tuple
    variables: Variables

    def network(self, dtype: str = "float32", precision: str = "highest") -> Network:
        """The network; dtype and precision as in nn/layers.py."""
        return make_network(self.kind, *self.arguments, dtype=dtype, precision=precision)


class Towers(NamedTuple):
    """What a file of weights holds.

    Attributes:
      media: of pictures (CLIP) or of sound (CLAP).
      text: of prompts; None where it was not asked for.
      scale: of cosines between the two, which makes logits of them; exp of the published number.
    """

    media: Tower
    text: Tower | None
    scale: float
