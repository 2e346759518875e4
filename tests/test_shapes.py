"""What annotations say of shapes and dtypes holds while the tests run; see fixtures.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jaxtyping import TypeCheckError

from avvp_jax.methods.losses import mmil_losses
from avvp_jax.metrics.scores import counts
from avvp_jax.nn.attention import Attention
from avvp_jax.nn.functional import parser_network
from avvp_jax.nn.layers import Arithmetic
from avvp_jax.training.state import BatchArrays
from avvp_jax.training.step import take_batch
from tests.fixtures import SMALL_MODEL


def attend(query: tuple, context: tuple):
    attention = Attention(
        8, 2, dropout=0.0, arithmetic=Arithmetic.named("float32", "highest"), rngs=nnx.Rngs(0)
    )
    return attention.to_context(jnp.zeros(query), jnp.zeros(context))


def count(pred: tuple, true: tuple):
    return jax.eval_shape(counts, np.zeros(pred, bool), np.zeros(true, bool))


def batch(videos: tuple, rows: tuple):
    arrays = BatchArrays({"target": np.zeros(videos, np.float32)})
    return take_batch(arrays, np.zeros(rows, int), 0)


def mmil(probs: tuple, visual: tuple):
    """The last value of a dict is looked at too."""
    streams = ("audio", "visual", "global")
    output = {f"{stream}_prob": jnp.full(probs, 0.5) for stream in streams}
    targets = {name: np.ones(probs, np.float32) for name in ("audio", "video")}
    return mmil_losses(output, targets | {"visual": np.ones(visual, np.float32)}, np.ones(3, "f4"))


def parse(audio: tuple, snippet: tuple):
    network = parser_network((6, 7, 5), 4, SMALL_MODEL)
    features = {"audio": audio, "visual": (3, 10, 7), "snippet": snippet}
    features = {role: np.zeros(shape, np.float32) for role, shape in features.items()}
    return jax.eval_shape(lambda: network.build(nnx.Rngs(0))(features))


# A function, shapes that it takes, others, and the argument at fault.
WRONG = [
    (attend, [(2, 5, 8), (2, 7, 8)], [(2, 5, 8), (2, 7, 6)], "context"),
    (attend, [(2, 5, 8), (2, 7, 8)], [(2, 5, 8), (3, 7, 8)], "context"),
    (count, [(3, 10, 2, 4), (3, 10, 2, 4)], [(3, 10, 2, 4), (3, 9, 2, 4)], "true"),
    (count, [(3, 10, 2, 4), (3, 10, 2, 4)], [(3, 10, 3, 4), (3, 10, 3, 4)], "pred"),
    (batch, [(5, 4), (2,)], [(5, 4), (2, 1)], "rows"),
    (mmil, [(3, 4), (3, 4)], [(3, 4), (3, 5)], "targets"),
    (parse, [(3, 10, 6), (3, 10, 5)], [(3, 10, 6), (3, 9, 5)], "features"),
]


@pytest.mark.parametrize("function, right, wrong, argument", WRONG)
def test_a_wrong_shape_is_refused_by_the_name_of_its_argument(function, right, wrong, argument):
    function(*right)
    with pytest.raises(TypeCheckError, match=f"typechecking parameter '{argument}'"):
        function(*wrong)


def test_a_wrong_dtype_is_refused_too():
    with pytest.raises(TypeCheckError, match="typechecking parameter 'rows'"):
        take_batch(BatchArrays(), np.zeros(2, np.float32), 0)
