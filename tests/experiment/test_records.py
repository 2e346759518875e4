"""What a work directory remembers of its run."""

import dataclasses
import json

import jax
import pytest

from avvp_jax.errors import UserError
from avvp_jax.experiment.records import recall, remember
from avvp_jax.experiment.weights import refuse_other_data
from avvp_jax.streams import data_spec
from avvp_jax.task import Task
from configs.han import get_config


def test_a_work_directory_remembers_config_versions_and_commit(tmp_path):
    config = get_config("synthetic")
    remember(config, str(tmp_path), data_spec("base"), {})
    assert recall(str(tmp_path)).to_dict() == config.to_dict()
    record = json.loads((tmp_path / "config.json").read_text())
    assert record["versions"]["jax"] == jax.__version__
    assert "commit" in record


def test_a_run_goes_on_only_with_a_config_that_gives_the_same_numbers(tmp_path):
    config = get_config()
    config.seed = 3
    remember(config, str(tmp_path), data_spec("base"), {})
    config.seed = 4  # nothing has begun yet, so nothing is lost
    remember(config, str(tmp_path), data_spec("base"), {})
    assert recall(str(tmp_path)).seed == 4
    (tmp_path / "train/latest/1").mkdir(parents=True)
    config.train.steps_per_call = 7
    config.eval.plots = 3
    config.data.data_dir = "elsewhere"
    remember(config, str(tmp_path), data_spec("base"), {})
    config.model.width = 256
    with pytest.raises(UserError, match=r"model\.width was 512 and is now 256"):
        remember(config, str(tmp_path), data_spec("base"), {})


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"config": 3}'])
def test_a_damaged_config_is_named(tmp_path, damage):
    (tmp_path / "config.json").write_text(damage)
    with pytest.raises(UserError, match=r"config\.json: (damaged|is empty).*; put a copy back"):
        recall(str(tmp_path))


@pytest.mark.parametrize(("device", "precision"), [("", "highest"), ("cuda:0", "fastest")])
def test_a_file_from_before_precision_was_a_choice(device, precision, tmp_path):
    """Such a run had the device's own, so it goes on with that."""
    remember(get_config(), str(tmp_path), data_spec("base"), {})
    record = json.loads((tmp_path / "config.json").read_text())
    del record["config"]["model"]["precision"]
    record["devices"] = [device] if device else record["devices"]
    (tmp_path / "config.json").write_text(json.dumps(record))
    assert recall(str(tmp_path)).model.precision == precision


def test_a_file_from_before_videos_were_parsed_has_what_was_published(tmp_path):
    remember(get_config(), str(tmp_path), data_spec("base"), {})
    record = json.loads((tmp_path / "config.json").read_text())
    del record["config"]["extract"], record["config"]["parse"]
    (tmp_path / "config.json").write_text(json.dumps(record))
    found = recall(str(tmp_path))
    assert found.to_dict() == get_config().to_dict()
    assert found.extract.fidelity == "published" and found.parse.hop == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"classes": ("B", "A")}, "the classes stand in another order"),
        ({"classes": ("A", "C")}, "classes that it did not know: C"),
        ({"segments": 6}, "clips of 6 segments of 1 s, not 10 segments of 1 s"),
        ({"seconds": 2.5}, "clips of 10 segments of 2.5 s, not 10 segments of 1 s"),
    ],
)
def test_another_task_of_the_same_name_is_told_apart(given, said):
    task = Task("Own data", ("A", "B"), 10, 1)
    trained, now = (data_spec("base", x) for x in (task, dataclasses.replace(task, **given)))
    with pytest.raises(UserError, match="W was trained for another task") as told:
        refuse_other_data(trained, now, "W")
    assert said in str(told.value)
