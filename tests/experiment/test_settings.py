"""Configs: what is refused, and what a work directory remembers."""

import importlib

import pytest
from ml_collections import ConfigDict

from avvp_jax.errors import UserError
from avvp_jax.experiment.records import recall_for, remember
from avvp_jax.experiment.settings import check_config, flat_config
from avvp_jax.methods import METHODS
from avvp_jax.streams import data_spec
from configs.common import MADE_UP
from configs.han import get_config

REFUSED = {
    "method": "hann",
    "data.dataset": "ave/base",
    "data.streams": "clip_clap",
    "model.order": "both",
    "model.dtype": "float16",
    "model.heads": 3,
    "model.dropout": 1.0,
    "train.epochs": 0,
    "train.batch_size": -1,
    "train.generator": "philox",
    "eval.select": "segment/best",
    "eval.ties": "first",
    "eval.video_filter": "none",
    "eval.splits": (),
    "eval.plots": -1,
    "eval.segment_threshold": 0,
    "eval.video_threshold": 1.5,
    "seed": -1,
}


@pytest.mark.parametrize("key", REFUSED)
def test_an_unusable_value_is_refused_by_its_key(key):
    config = get_config()
    with config.unlocked():
        config.update_from_flattened_dict({key: REFUSED[key]})
    with pytest.raises(UserError, match=rf"config\.{key}"):
        check_config(config)


CONFIGS = sorted({method.config for method in METHODS.values()})
VARIANTS = {
    "valor": ("valor", "plus", "plus_plus"),
    "dhhn": ("refinement", "origin"),
}


def config_of(method: str, variant: str = "") -> ConfigDict:
    return importlib.import_module(f"configs.{method}").get_config(variant)


@pytest.mark.parametrize("method", CONFIGS)
def test_configs_pass_their_own_checks(method):
    for variant in ("", *VARIANTS.get(method, ())):
        check_config(config_of(method, variant))
        for made_up in MADE_UP:
            config = config_of(method, ",".join(filter(None, (variant, made_up))))
            check_config(config)
            assert config.data.dataset == f"llp/{made_up}"


@pytest.mark.parametrize("method", CONFIGS)
def test_an_unknown_variant_is_refused_with_the_known_ones(method):
    with pytest.raises(ValueError, match=rf"configs/{method}.py has no variant.*synthetic"):
        config_of(method, "tiny")
    others = "synthetic,tiny", "synthetic_videos,tiny", ",".join(MADE_UP)
    for two in (",".join(VARIANTS.get(method, ("a", "b"))), *others):
        with pytest.raises(ValueError, match="no variant"):
            config_of(method, two)


# What the papers' programs use, beside the network's size: methods.md has each.
PUBLISHED = {
    ("han", ""): {
        "seed": 1,
        "train.epochs": 40,
        "train.batch_size": 16,
        "schedule.learning_rate": 3e-4,
        "schedule.factor": 0.1,
        "schedule.every_epochs": 10,
        "eval.video_filter": "global",
        "eval.select": "segment/type",
        "eval.ties": "later",
    },
    ("ma", ""): {
        "seed": 1,
        "train.epochs": 12,
        "train.batch_size": 16,
        "schedule.learning_rate": 3e-4,
        "schedule.factor": 0.1,
        "schedule.every_epochs": 10,
        "ma.estimation_seed": 2,
        "ma.edit_video_target": True,
        "eval.video_filter": "per_modality",
        "eval.select": "last",
    },
    ("jomold", ""): {
        "seed": 6,
        "train.epochs": 25,
        "train.batch_size": 128,
        "schedule.learning_rate": 5e-4,
        "schedule.factor": 0.25,
        "schedule.every_epochs": 6,
        "model.visual_dropout": 0.5,
        "jomold.audio_threshold": 0.6,
        "jomold.visual_threshold": 1.8,
        "jomold.warmup": "published",
        "eval.video_filter": "per_modality",
        "eval.select": "event/audio",
        "eval.ties": "later",
    },
    ("valor", ""): {
        "train.epochs": 60,
        "train.batch_size": 64,
        "model.heads": 8,
        "model.feed_forward": 1024,
        "model.order": "sequential",
        "model.norm": "post",
        "optimizer.b1": 0.5,
        "optimizer.b2": 0.999,
        "optimizer.weight_decay": 1e-3,
        "optimizer.clip_norm": 1.0,
        "schedule.learning_rate": 1e-4,
        "schedule.final_learning_rate": 1e-6,
        "schedule.warmup_epochs": 10,
        "eval.video_filter": "global",
        "eval.select": "segment/type",
        "eval.ties": "earlier",
    },
    ("valor", "plus"): {"schedule.learning_rate": 3e-4, "schedule.final_learning_rate": 3e-6},
    ("dhhn", ""): {
        "seed": 1,
        "train.batch_size": 64,
        "schedule.factor": 0.1,
        "schedule.every_epochs": 10,
        "dhhn.estimation_seed": 2,
        "dhhn.edit_video_target": True,
        "base.train.epochs": 12,
        "base.train.batch_size": 16,
        "base.schedule.learning_rate": 3e-4,
        "base.eval.select": "last",
        "audio_net.layers": 1,
        "audio_net.repeats": 4,
        "video_net.layers": 2,
        "video_net.repeats": 3,
        "audio_net.heads": 8,
        "video_net.heads": 8,
        "eval.video_filter": "per_modality",
        "eval.select": "('mean/audio', 'mean/visual')",
        "eval.ties": "earlier",
    },
}


@pytest.mark.parametrize("config", PUBLISHED, ids=lambda pair: ":".join(filter(None, pair)))
def test_configs_have_the_published_values(config):
    flat = flat_config(config_of(*config))
    assert {key: flat[key] for key in PUBLISHED[config]} == PUBLISHED[config]


def test_what_a_choice_needs_is_asked_for():
    for method, key, value, needed in (
        ("dhhn", "optimizer.name", "adamw", "optimizer.weight_decay"),
        ("han", "schedule.kind", "warmup_cosine", "schedule.final_learning_rate"),
        ("valor", "schedule.kind", "step", "schedule.factor"),
    ):
        config = config_of(method)
        config.update_from_flattened_dict({key: value})
        with pytest.raises(UserError, match=rf"config\.{key}=.*needs config\.{needed}"):
            check_config(config)


def test_a_section_that_is_not_whole_is_named():
    config = config_of("dhhn")
    with config.unlocked():
        del config.audio_net["repeats"]
    with pytest.raises(UserError, match=r"config\.audio_net\.repeats is missing"):
        check_config(config)


def test_published_variants_differ_as_published():
    valor, plus, plus_plus = (config_of("valor", v) for v in VARIANTS["valor"])
    assert config_of("valor").to_dict() == valor.to_dict()
    assert [c.seed for c in (valor, plus, plus_plus)] == [1000, 64, 87]
    assert [c.model.width for c in (valor, plus, plus_plus)] == [512, 256, 256]
    assert [c.model.layers for c in (valor, plus, plus_plus)] == [1, 4, 4]
    assert plus.data.streams == "base"
    assert plus_plus.data.streams == "clip_clap"
    refinement, origin = (config_of("dhhn", v) for v in VARIANTS["dhhn"])
    assert config_of("dhhn").to_dict() == refinement.to_dict()
    assert set(refinement.schedule.learning_rate.values()) == {3e-4}
    rates = {"hcmn": 3e-4, "audio_net": 6e-4, "video_net": 6e-5}
    assert origin.schedule.learning_rate.to_dict() == rates
    assert (refinement.train.epochs, origin.train.epochs) == (5, 10)


# Keys that some configs have, with values that none may have.
REFUSED_ELSEWHERE = {
    "jomold": {"jomold.warmup": "slow"},
    "valor": {
        "schedule.warmup_epochs": -1,
        "schedule.final_learning_rate": float("nan"),
        "optimizer.clip_norm": 0.0,
        "optimizer.name": "sgd",
        "schedule.kind": "linear",
    },
    "mm_cse": {
        "mm_cse.cooccurrence": -0.1,
        "model.heads": 256,  # divides the tokens' width
        "model.class_width": 100,
        "model.feed_forward": 0,
        "eval.video_filter": "mix",
    },
    "dhhn": {
        "dhhn.mode": "both",
        "schedule.learning_rate.audio_net": 0.0,
        "base.train.epochs": 0,
        "base.schedule.learning_rate": -1.0,
        "audio_net.repeats": 0,
        "audio_net.heads": 3,
        "video_net.dropout": 1.0,
        "eval.select": ("mean/audio",),
        "base.eval.select": "segment/foo",
        "eval.video_filter": "global",
    },
}


def test_a_choice_that_a_config_has_the_values_of_needs_no_more():
    config = config_of("mm_cse")
    config.schedule.kind = "warmup_cosine"
    check_config(config)


@pytest.mark.parametrize("method", REFUSED_ELSEWHERE)
def test_unusable_values_of_a_method_are_refused_by_their_keys(method):
    for key, value in REFUSED_ELSEWHERE[method].items():
        config = config_of(method)
        with config.unlocked():
            config.update_from_flattened_dict({key: value})
        with pytest.raises(UserError, match=rf"config\.{key}"):
            check_config(config)


@pytest.mark.parametrize("method", CONFIGS)
def test_every_value_can_be_given_on_the_command_line(method):
    """ConfigDict's own methods (update, items, ...) would hide a key of their name."""
    keys = flat_config(config_of(method))
    hidden = [key for key in keys if set(key.split(".")) & set(dir(ConfigDict))]
    assert not hidden


def test_a_config_goes_with_its_own_method_only():
    pairs = (("han", "ma"), ("ma", "jomold"), ("jomold", "han"), ("dhhn", "ma"), ("valor", "dhhn"))
    for method, given in pairs:
        config = config_of(method)
        config.method = given
        with pytest.raises(UserError, match="does not go with this config"):
            check_config(config)


def test_what_training_started_from_is_not_what_is_evaluated(tmp_path):
    config = get_config()
    config.init_from, config.export_to = "other.pt", "x.pt"
    remember(config, str(tmp_path), data_spec("base"), {})
    assert recall_for(str(tmp_path), "train").init_from == "other.pt"
    for mode in ("eval", "predict", "export"):
        recalled = recall_for(str(tmp_path), mode)
        assert (recalled.init_from, recalled.export_to) == ("", "")


def test_an_unknown_variant_lists_the_known_ones():
    with pytest.raises(ValueError, match="known: synthetic"):
        get_config("small")
