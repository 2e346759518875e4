"""Matrix products have the precision of the config, whatever JAX's own default is."""

import jax
import jax.numpy as jnp
import pytest

from avvp_jax.methods.contrastive import contrastive_logits
from avvp_jax.methods.dhhn.method import LAYOUT
from avvp_jax.methods.ma.estimation import draw_partner, views
from avvp_jax.methods.mm_cse import method as mm_cse
from avvp_jax.nn.class_parser import ClassParser
from avvp_jax.nn.functional import Network, make_network, parser_network
from avvp_jax.nn.layers import PRECISIONS
from avvp_jax.runtime.mesh import make_mesh
from avvp_jax.training.predictor import probabilities
from tests.programs import precisions_of

WIDTHS, CLASSES = (6, 8, 7), 5
NAMES = {"highest": "HIGHEST", "high": "HIGH", "fastest": "DEFAULT"}
FEATURES = {
    role: jax.ShapeDtypeStruct((2, 10, width), jnp.float32)
    for role, width in zip(("audio", "visual", "snippet"), WIDTHS, strict=True)
}


@pytest.fixture(params=["bfloat16", "float32"], autouse=True)
def of_jax(request):
    """JAX's setting for products that name no precision."""
    with jax.default_matmul_precision(request.param):
        yield


def asked(function, *arguments) -> list[str]:
    return precisions_of(jax.jit(function).lower(*arguments).as_text())


def all_networks(model: dict) -> list[Network]:
    """A parser, DHHN's with its convolutions, and MM-CSE's with products of each class."""
    hierarchical = make_network(LAYOUT.parser, WIDTHS, CLASSES, **model)
    of_classes = {name: model[name] for name in mm_cse.MODEL if name in model}
    of_classes = make_network(ClassParser, WIDTHS, CLASSES, **of_classes, class_width=8)
    return [parser_network(WIDTHS, CLASSES, model), hierarchical, of_classes]


@pytest.mark.parametrize("name", PRECISIONS)
def test_networks_and_their_gradients(name, small_model):
    for network in all_networks(small_model | {"precision": name}):

        def loss(params, stats, features, network=network):
            parser = network.module({"params": params, "stats": stats})
            return sum(x.sum() for x in jax.tree.leaves(parser(features, jax.random.key(0))))

        shapes = network.shapes()
        gradient = jax.grad(loss)
        assert asked(gradient, shapes["params"], shapes["stats"], FEATURES) == [NAMES[name]]


@pytest.mark.parametrize("name", PRECISIONS)
def test_prediction_and_label_estimation(name, small_model):
    network = parser_network(WIDTHS, CLASSES, small_model | {"precision": name})
    variables = network.shapes()

    def predicted(variables, features):
        return probabilities(network, variables, features, 2, make_mesh())

    assert asked(predicted, variables, FEATURES) == [NAMES[name]]
    assert asked(lambda *x: views(network, *x), variables, FEATURES, FEATURES) == [NAMES[name]]


@pytest.mark.parametrize("name", PRECISIONS)
def test_contrastive_losses(name):
    streams = [jax.ShapeDtypeStruct((2, 10, 16), jnp.float32)] * 2
    assert asked(lambda *x: contrastive_logits(*x, PRECISIONS[name]), *streams) == [NAMES[name]]


def test_shared_labels_are_counted_exactly():
    labels = jax.ShapeDtypeStruct((4, 25), jnp.float32)
    one = jax.ShapeDtypeStruct((25,), jnp.float32)
    assert asked(lambda *x: draw_partner(jax.random.key(0), *x), one, labels) == ["HIGHEST"]
