"""The table of a config's keys: what is derived from its marks."""

import pytest

from avvp_jax.experiment.schema import COMMON, fields_of, weightless
from avvp_jax.methods import METHODS
from avvp_jax.schema import TEXT

FREE_ON_RESUME = {
    *("extract.fidelity", "extract.weights_dir", "extract.dtype", "extract.precision"),
    *("parse.hop", "parse.teachers"),
    *("report.videos", "report.embed_media"),
    *("data.data_dir", "data.manual_dir", "data.features_only", "data.feed"),
    *("export_to", "stages", "pick_seed", "mesh.devices", "mesh.seeds"),
    *("train.steps_per_call", "train.save_seconds"),
    *("eval.splits", "eval.batch_size", "eval.plots", "eval.stage"),
}
PATHS = {"data.data_dir", "data.manual_dir", "data.features_only", "init_from", "export_to"}
PATHS |= {"extract.weights_dir", "parse.teachers", "report.videos"}
# What an optimizer or a schedule needs, and not every one.
NEEDED_BY_SOME = {
    *("optimizer.b1", "optimizer.b2", "optimizer.eps"),
    *("optimizer.weight_decay", "optimizer.clip_norm"),
    *("schedule.factor", "schedule.every_epochs"),
    *("schedule.final_learning_rate", "schedule.warmup_epochs"),
}


def marked(method: str, mark: str) -> set[str]:
    return {key for key, field in fields_of(method).items() if getattr(field, mark)}


@pytest.mark.parametrize("method", METHODS)
def test_what_changes_no_number_may_differ_when_a_run_goes_on(method):
    """These alone: a key that changes numbers among them would mix two runs."""
    assert marked(method, "free_on_resume") == FREE_ON_RESUME
    assert marked(method, "free_in_pairs") == {"num_seeds", "seeds_at_once"}


@pytest.mark.parametrize("method", METHODS)
def test_paths_are_those_of_all_methods_and_of_its_own_sections(method):
    """Every text of a method's own is one; it is made absolute, wherever the run goes on."""
    texts = {key for key, field in fields_of(method).items() if field.limit is TEXT}
    assert marked(method, "path") == texts - {"eval.stage"} and texts > PATHS
    assert {key.split(".")[0] for key in texts - PATHS} <= {"eval", *METHODS[method].schema}


@pytest.mark.parametrize("method", METHODS)
def test_every_number_of_heads_divides_a_width(method):
    heads = {key for key in fields_of(method) if key.rpartition(".")[2] == "heads"}
    assert marked(method, "divides_width") == heads and "model.heads" in heads
    assert all(fields_of(method)[key].width in METHODS[method].model for key in heads)


@pytest.mark.parametrize("method", METHODS)
def test_weights_do_not_depend_on_these(method):
    those = {"dropout", "visual_dropout", "attention_dropout", "absence_dropout"}
    those |= {"fused_share", "cross_attention", "dtype", "precision"}
    assert set(weightless(method)) == those & set(METHODS[method].model)


def test_every_key_is_required_but_those_that_a_choice_needs():
    assert {key for key, field in COMMON.items() if not field.required} == NEEDED_BY_SOME
    needed = set()
    for key, field in COMMON.items():
        section = key.rpartition(".")[0]
        needed |= {f"{section}.{name}" for names in field.needs.values() for name in names}
    assert needed == NEEDED_BY_SOME | {"schedule.learning_rate"}
