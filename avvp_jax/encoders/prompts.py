"""What prompts are to a teacher: their embeddings, with which its segments are compared."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Float32

from avvp_jax.encoders.teachers import Teacher, alternatives, segment_logits
from avvp_jax.encoders.tokens import Ids, tokenised
from avvp_jax.encoders.towers import Tower
from avvp_jax.errors import UserError

_AT_ONCE = 32  # prompts

Embeddings = Float32[np.ndarray, "rows joint"]


class Teaching(NamedTuple):
    """A teacher that has read its prompts.

    Attributes:
      teacher: its prompts and thresholds.
      prompts: the embeddings of its prompts, unit rows [classes, joint].
      scale: of cosines, which makes logits of them.
    """

    teacher: Teacher
    prompts: Embeddings
    scale: float

    def logits(self, segments: Embeddings) -> Float32[np.ndarray, "rows classes"]:
        """Of embeddings of segments."""
        return segment_logits(segments, self.prompts, self.scale).astype(np.float32)


def embedded(
    stream: str,
    tower: Tower,
    prompts: Sequence[str],
    vocabulary: Sequence[str] | None,
    missing: str,
    arithmetic: tuple[str, str] = ("float32", "highest"),
) -> Embeddings:
    """Unit rows of prompts; of one with several alternatives, of their average.

    Args:
      stream: "clip" or "clap".
      tower: of its text.
      prompts: alternatives are apart by "|".
      vocabulary, missing: see tokens.tokenised.
      arithmetic: dtype and precision, as in nn/layers.py.

    Raises:
      UserError: see tokens.tokenised; or the vocabulary is of another network.
    """
    each = [alternatives(prompt) for prompt in prompts]
    texts = list(dict.fromkeys(itertools.chain(*each)))
    ids, mask = tokenised(stream, texts, vocabulary, missing)
    words, places = tower.arguments[:2]
    places -= 2 * (stream == "clap")  # RoBERTa's first two stand for none, and for padding
    if ids.max() >= words:
        of = vocabulary[0] if vocabulary else "LLP's prompts"
        raise UserError(
            f"{of}: has more tokens than the {words} of {stream}'s weights; take the vocabulary "
            "that belongs to them"
        )
    if ids.shape[1] > places:
        raise UserError(f"prompts of {ids.shape[1]} tokens are too long for {stream}'s {places}")
    rows = dict(zip(texts, _encoded(stream, tower, ids, mask, arithmetic), strict=True))
    return np.stack([_average([rows[text] for text in some]) for some in each])


def _encoded(
    stream: str, tower: Tower, ids: Ids, mask: Ids, arithmetic: tuple[str, str]
) -> Embeddings:
    network, masked = tower.network(*arithmetic), stream == "clap"

    @jax.jit
    def program(variables, ids, mask):
        module = network.module(variables)
        return module(ids, mask) if masked else module(ids)

    part, found = min(len(ids), _AT_ONCE), []
    for start in range(0, len(ids), part):
        some = [x[start : start + part] for x in (ids, mask)]
        lacks = part - len(some[0])
        some = [np.concatenate([x, np.repeat(x[:1], lacks, axis=0)]) for x in some]
        found.append(np.asarray(program(tower.variables, *some))[: part - lacks])
    return np.concatenate(found)


def _average(rows: Sequence[Float[np.ndarray, " joint"]]) -> Float32[np.ndarray, " joint"]:
    """The direction of the mean of unit rows; a lone row stays as it is."""
    if len(rows) == 1:
        return rows[0]
    mean = np.mean(rows, axis=0, dtype=np.float64)
    return (mean / np.linalg.norm(mean)).astype(np.float32)
