"""Configs: what is refused, and what a work directory remembers."""

import importlib
import json

import jax
import pytest
from ml_collections import ConfigDict

from avvp_jax.errors import UserError
from avvp_jax.settings import check_config, flat_config, recall, recall_for, remember
from configs.han import get_config

REFUSED = {
    "method": "hann",
    "data.dataset": "llp/other",
    "data.streams": "clip_clap",
    "model.order": "both",
    "model.dtype": "float16",
    "model.heads": 3,
    "model.dropout": 1.0,
    "train.epochs": 0,
    "train.batch_size": -1,
    "eval.select": "segment/best",
    "eval.ties": "first",
    "eval.video_filter": "none",
    "eval.splits": (),
    "eval.plots": -1,
    "seed": -1,
}


@pytest.mark.parametrize("key", REFUSED)
def test_an_unusable_value_is_refused_by_its_key(key):
    config = get_config()
    with config.unlocked():
        config.update_from_flattened_dict({key: REFUSED[key]})
    with pytest.raises(UserError, match=rf"config\.{key}"):
        check_config(config)


@pytest.mark.parametrize("variant", ["", "synthetic"])
@pytest.mark.parametrize("method", ["han", "ma", "jomold"])
def test_configs_pass_their_own_checks(method, variant):
    check_config(importlib.import_module(f"configs.{method}").get_config(variant))


@pytest.mark.parametrize("method", ["han", "ma", "jomold"])
def test_every_value_can_be_given_on_the_command_line(method):
    """ConfigDict's own methods (update, items, ...) would hide a key of their name."""
    keys = flat_config(importlib.import_module(f"configs.{method}").get_config())
    hidden = [key for key in keys if set(key.split(".")) & set(dir(ConfigDict))]
    assert not hidden


def test_a_config_goes_with_its_own_method_only():
    for method, given in (("han", "ma"), ("ma", "jomold"), ("jomold", "han")):
        config = importlib.import_module(f"configs.{method}").get_config()
        config.method = given
        with pytest.raises(UserError, match="does not go with this config"):
            check_config(config)


def test_what_training_started_from_is_not_what_is_evaluated(tmp_path):
    config = get_config()
    config.init_from, config.export_to = "other.pt", "x.pt"
    remember(config, str(tmp_path))
    assert recall_for(str(tmp_path), "train").init_from == "other.pt"
    for mode in ("eval", "predict", "export"):
        recalled = recall_for(str(tmp_path), mode)
        assert (recalled.init_from, recalled.export_to) == ("", "")


def test_an_unknown_variant_lists_the_known_ones():
    with pytest.raises(ValueError, match="known: synthetic"):
        get_config("small")


def test_a_work_directory_remembers_config_versions_and_commit(tmp_path):
    config = get_config("synthetic")
    remember(config, str(tmp_path))
    assert recall(str(tmp_path)).to_dict() == config.to_dict()
    record = json.loads((tmp_path / "config.json").read_text())
    assert record["versions"]["jax"] == jax.__version__
    assert "commit" in record


def test_a_run_goes_on_only_with_a_config_that_gives_the_same_numbers(tmp_path):
    config = get_config()
    config.seed = 3
    remember(config, str(tmp_path))
    config.seed = 4  # nothing has begun yet, so nothing is lost
    remember(config, str(tmp_path))
    assert recall(str(tmp_path)).seed == 4
    (tmp_path / "train/latest/1").mkdir(parents=True)
    config.train.steps_per_call = 7
    config.eval.plots = 3
    config.data.data_dir = "elsewhere"
    remember(config, str(tmp_path))
    config.model.width = 256
    with pytest.raises(UserError, match=r"model\.width was 512 and is now 256"):
        remember(config, str(tmp_path))


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"config": 3}'])
def test_a_damaged_config_is_named(tmp_path, damage):
    (tmp_path / "config.json").write_text(damage)
    with pytest.raises(UserError, match=r"config\.json: damaged"):
        recall(str(tmp_path))
