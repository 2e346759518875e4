"""Files of what a teacher says about videos, of a task with three classes and two segments."""

import numpy as np
import pytest

from avvp_jax.errors import UserError
from avvp_jax.methods.valor.label_files import (
    embeddings_reader,
    label_videos,
    logits_reader,
    write_labels,
)
from avvp_jax.methods.valor.prompts import read_prompt_embeddings, read_prompts, read_thresholds
from avvp_jax.task import Task

TASK = Task("barks", ("Dog", "Seal", "Tree"), segments=2, seconds=5)
THRESHOLDS = (0.0, 1.0, 2.0)
VIDEOS = {
    "train": (["a"], np.array([[1, 1, 0]], "u1")),
    "val": (["b"], np.array([[0, 0, 1]], "u1")),
}


@pytest.fixture
def logits(tmp_path):
    """A folder: of video a the logits are 1.5, of b 2.5 in the second segment alone."""
    np.save(tmp_path / "a.npy", np.full((2, 3), 1.5, np.float32))
    np.save(tmp_path / "b.npy", np.array([[0, 0, 0], [2.5, 2.5, 2.5]]))
    return tmp_path


def test_labels_are_of_weak_labels_above_their_thresholds(logits):
    labels = label_videos(logits, logits_reader(TASK), THRESHOLDS, VIDEOS)
    np.testing.assert_array_equal(labels["train"], [[[1, 1, 0], [1, 1, 0]]])
    np.testing.assert_array_equal(labels["val"], [[[0, 0, 0], [0, 0, 1]]])


def test_files_that_do_not_fit_the_task_are_named(logits):
    np.save(logits / "a.npy", np.zeros((10, 25)))
    with pytest.raises(UserError, match=r"a\.npy has shape \[10, 25\], not \[2, 3\]"):
        label_videos(logits, logits_reader(TASK), THRESHOLDS, VIDEOS)
    with pytest.raises(UserError, match="a split has none at all"):
        label_videos(logits, logits_reader(TASK), THRESHOLDS, {"val": ([], np.zeros((0, 3), "u1"))})


def test_embeddings_are_compared_with_the_prompts(tmp_path):
    np.save(tmp_path / "prompts.npy", np.eye(3, 4))
    prompts = read_prompt_embeddings(tmp_path / "prompts.npy", ("one", "two", "three"))
    np.save(tmp_path / "a.npy", np.array([[5.0, 0, 0, 0], [0, 3, 0, 4]]))
    logits = embeddings_reader(TASK, prompts, 10.0)(tmp_path / "a.npy")
    np.testing.assert_allclose(logits, [[10, 0, 0], [0, 6, 0]])


def test_prompts_and_thresholds_are_as_many_as_classes(tmp_path):
    (tmp_path / "p.txt").write_text("a dog\n\na seal\na tree\n")
    (tmp_path / "t.txt").write_text("1 2.5\n-3")
    assert read_prompts(tmp_path / "p.txt", 3) == ["a dog", "a seal", "a tree"]
    assert read_thresholds(tmp_path / "t.txt", 3) == [1.0, 2.5, -3.0]
    with pytest.raises(UserError, match="holds 3 prompts; 4 lines are needed"):
        read_prompts(tmp_path / "p.txt", 4)
    with pytest.raises(UserError, match="holds 3 thresholds; 4 finite numbers are needed"):
        read_thresholds(tmp_path / "t.txt", 4)


def test_all_labels_are_written_or_none(tmp_path):
    label = np.ones((2, 3), np.uint8)
    write_labels(tmp_path / "out", {"a": label, "b": label})
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.npy", "b.npy"]
    np.testing.assert_array_equal(np.load(tmp_path / "out/a.npy"), label)
    with pytest.raises(UserError, match="cannot be written"):
        write_labels(tmp_path / "none", {"a": label, "no/such/folder": label})
    assert not list(tmp_path.glob("none*"))
