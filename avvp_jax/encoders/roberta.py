"""CLAP's tower of text: RoBERTa (Liu et al. 2019)."""

from collections.abc import Iterator

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from avvp_jax.encoders.clap_layers import Mlp, Projection
from avvp_jax.nn.attention import Attention
from avvp_jax.nn.layers import Arithmetic, layer_norm, linear

PADDING = 1  # the token of padding, and the position of all padding; words come after it
_NEVER = -1e9  # a logit: its weight is 0


class Embeddings(nnx.Module):
    """Of words and of their positions, added and normalised."""

    def __init__(
        self, vocabulary: int, positions: int, width: int, *, arithmetic: Arithmetic, rngs: nnx.Rngs
    ):
        def table(rows):
            return nnx.Embed(rows, width, dtype=arithmetic.dtype, rngs=rngs)

        self.words, self.positions, self.kinds = table(vocabulary), table(positions), table(1)
        self.norm = layer_norm(width, dtype=arithmetic.dtype, rngs=rngs)

    def __call__(
        self, ids: Int[Array, "n length"], mask: Int[Array, "n length"]
    ) -> Float[Array, "n length width"]:
        places = jnp.cumsum(mask, axis=1) * mask + PADDING
        # There is one kind of token.
        x = self.words(ids) + self.kinds.embedding[0].astype(self.words.dtype)
        return self.norm(x + self.positions(places))


class Layer(nnx.Module):
    """Attention and an MLP, each followed by its norm."""

    def __init__(
        self, width: int, heads: int, hidden: int, *, arithmetic: Arithmetic, rngs: nnx.Rngs
    ):
        kinds, norms = {"arithmetic": arithmetic, "rngs": rngs}, {"dtype": arithmetic.dtype}
        self.attention = Attention(width, heads, dropout=0.0, **kinds)
        self.attention_norm, self.feed_norm = (
            layer_norm(width, **norms, rngs=rngs) for _ in range(2)
        )
        self.feed = Mlp(width, hidden, **kinds)

    def __call__(
        self, x: Float[Array, "n length width"], bias: Float[Array, "n 1 1 length"]
    ) -> Float[Array, "n length width"]:
        x = self.attention_norm(x + self.attention.to_itself(x, bias=bias))
        return self.feed_norm(x + self.feed(x))


class RoBERTa(nnx.Module):
    """Token ids to embeddings.

    Args:
      vocabulary: tokens.
      positions: a text may have two fewer tokens.
      width, layers, heads, hidden: of the transformer; `hidden` of its MLPs.
      joint: width of embeddings.
    """

    def __init__(
        self,
        vocabulary: int = 50_265,
        positions: int = 514,
        width: int = 768,
        layers: int = 12,
        heads: int = 12,
        hidden: int = 3072,
        joint: int = 512,
        *,
        dtype: str = "float32",
        precision: str = "highest",
        rngs: nnx.Rngs,
    ):
        kinds = {"arithmetic": Arithmetic.named(dtype, precision), "rngs": rngs}
        self.embeddings = Embeddings(vocabulary, positions, width, **kinds)
        self.layers = nnx.List(Layer(width, heads, hidden, **kinds) for _ in range(layers))
        self.pooler = linear(width, width, **kinds)
        self.projection = Projection(width, joint, **kinds)

    def stages(
        self, ids: Int[Array, "n length"], mask: Int[Array, "n length"]
    ) -> Iterator[tuple[str, Array]]:
        """What is computed on the way to the embedding, with names."""
        x = self.embeddings(ids, mask)
        yield "embeddings", x
        bias = jnp.where(mask, 0.0, _NEVER)[:, None, None]
        for number, layer in enumerate(self.layers):
            x = layer(x, bias)
            yield f"layer{number}", x
        yield "pooler", jnp.tanh(self.pooler(x[:, 0]))

    def __call__(
        self, ids: Int[Array, "n length"], mask: Int[Array, "n length"]
    ) -> Float[Array, "n joint"]:
        """Embeddings of texts, rows of norm 1, float32.

        Args:
          ids: of <s>, the words, </s> and padding.
          mask: 1 for tokens, 0 for padding.
        """
        *_, (_, pooled) = self.stages(ids, mask)
        return self.projection(pooled)
