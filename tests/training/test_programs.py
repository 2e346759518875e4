"""Equal trainings share their compiled programs, because what identifies a program is equal."""

import jax
import jax.numpy as jnp
import pytest
from ml_collections import ConfigDict

from avvp_jax.methods import stages_of
from avvp_jax.metrics.scores import device_scores
from avvp_jax.modes import run
from avvp_jax.runtime.mesh import by_seed, everywhere, make_mesh
from avvp_jax.streams import data_spec
from avvp_jax.training.optimizer import make_optimizer
from avvp_jax.training.predictor import Predictor
from avvp_jax.training.stages import Training
from avvp_jax.training.step import make_step
from avvp_jax.training.validation import _compiled_scores

METHODS = [("han", ""), ("ma", ""), ("jomold", ""), ("valor", ""), ("dhhn", "refinement")]
METHODS += [("cmpae", ""), ("leap", ""), ("mm_cse", "")]


def kept_by(config: ConfigDict) -> list:
    """Of each training of a config: what its programs are kept by, made now."""
    found = []
    spec = data_spec(config.data.streams)
    for stage in stages_of(config):
        if isinstance(stage, Training):
            settings = stage.settings(config)
            network, result = (
                build(config, spec) for build in (stage.trained_network, stage.result_network)
            )
            optimizer = make_optimizer(settings.optimizer)
            step = make_step(network, stage.loss, optimizer)
            found.append((step, network, result, stage.keep, optimizer))
    return found


@pytest.mark.parametrize(("method", "variant"), METHODS)
def test_equal_trainings_have_equal_programs(method, variant, small_config):
    one, other = (kept_by(small_config(method, variant)) for _ in range(2))
    assert one == other and hash(tuple(one)) == hash(tuple(other))
    assert all(a[0] is b[0] for a, b in zip(one, other, strict=True))


def test_other_trainings_have_others(small_config):
    networks = {stage[1] for method in METHODS for stage in kept_by(small_config(*method))}
    assert len(networks) > 3


def test_validation_as_before_has_the_programs_of_before():
    """Scores of whole videos, and which videos are annotated, are not in them."""
    mesh = make_mesh()
    parts = [jax.ShapeDtypeStruct((2, videos, 6, 2, 5), bool) for videos in (4, 3)]
    truth = jax.ShapeDtypeStruct((7, 6, 2, 5), bool)

    def scores(parts, truth):
        return jax.vmap(device_scores, (0, None))(jnp.concatenate(parts, 1), truth)

    plain = jax.jit(
        scores, in_shardings=(by_seed(mesh), everywhere(mesh)), out_shardings=by_seed(mesh)
    )
    compiled = _compiled_scores(mesh)
    found = compiled.lower(parts, truth, None, None, None).as_text()
    assert found == plain.lower(parts, truth).as_text()
    dense = jax.ShapeDtypeStruct((7,), jnp.float32)
    assert compiled.lower(parts, truth, dense, None, None).as_text() != found


@pytest.mark.parametrize("select", ["segment/type", "last", "mean/audio", "video/ap"])
def test_whole_videos_are_only_judged_where_they_select(config, tmp_path, monkeypatch, select):
    class Judged(Exception):
        pass

    def judged(*_):
        raise Judged

    monkeypatch.setattr(Predictor, "judged", judged)
    config.eval.select, config.train.epochs = select, 1
    workdir = str(tmp_path / "W")
    if select == "video/ap":
        with pytest.raises(Judged):
            run(config, workdir, "train")
    else:
        run(config, workdir, "train")
