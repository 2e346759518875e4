"""What annotations say of shapes and dtypes holds while the tests run; see conftest.py."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jaxtyping import TypeCheckError

from avvp_jax.metrics.scores import counts
from avvp_jax.nn.layers import Attention
from avvp_jax.training.state import BatchArrays
from avvp_jax.training.step import take_batch


def attend(query: tuple, context: tuple):
    attention = Attention(8, 2, dropout=0.0, dtype=jnp.float32, rngs=nnx.Rngs(0))
    return attention.to_context(jnp.zeros(query), jnp.zeros(context))


def count(pred: tuple, true: tuple):
    return jax.eval_shape(counts, np.zeros(pred, bool), np.zeros(true, bool))


def batch(videos: tuple, rows: tuple):
    arrays = BatchArrays({"target": np.zeros(videos, np.float32)})
    return take_batch(arrays, np.zeros(rows, int), 0)


# Of nn, metrics and training: a function, shapes that it takes, others, and the argument at fault.
WRONG = [
    (attend, [(2, 5, 8), (2, 7, 8)], [(2, 5, 8), (2, 7, 6)], "context"),
    (attend, [(2, 5, 8), (2, 7, 8)], [(2, 5, 8), (3, 7, 8)], "context"),
    (count, [(3, 10, 2, 4), (3, 10, 2, 4)], [(3, 10, 2, 4), (3, 9, 2, 4)], "true"),
    (count, [(3, 10, 2, 4), (3, 10, 2, 4)], [(3, 10, 3, 4), (3, 10, 3, 4)], "pred"),
    (batch, [(5, 4), (2,)], [(5, 4), (2, 1)], "rows"),
]


@pytest.mark.parametrize("function, right, wrong, argument", WRONG)
def test_a_wrong_shape_is_refused_by_the_name_of_its_argument(function, right, wrong, argument):
    function(*right)
    with pytest.raises(TypeCheckError, match=f"typechecking parameter '{argument}'"):
        function(*wrong)


def test_a_wrong_dtype_is_refused_too():
    with pytest.raises(TypeCheckError, match="typechecking parameter 'rows'"):
        take_batch(BatchArrays(), np.zeros(2, np.float32), 0)


def test_programs_that_tests_start_check_nothing():
    program = "import sys, avvp_jax.streams; sys.exit('beartype' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
