"""Finding data prepared, preparing it, and the command line."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from avvp_jax.errors import UserError
from avvp_jax.storage.locks import lock
from avvp_jax.streams import STREAM_SETS
from tests.tfds_llp.published_folder import write_published
from tfds_llp.prepare import prepare


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_published(tmp_path_factory.mktemp("published") / "DATA", STREAM_SETS["base"])


@pytest.fixture(scope="module")
def prepared_once(folder, tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("prepared")
    prepare("llp/base", data_dir, folder)
    return data_dir


def one_line(refusal):
    message = str(refusal.value)
    assert message.isprintable()
    return message


def test_it_prepares_at_first_use_and_finds_it_afterwards(folder, tmp_path):
    first = prepare("llp/base", tmp_path / "tfds", folder)
    again = prepare("llp/base", str(tmp_path / "tfds"))
    assert first.data_dir == again.data_dir
    for builder in (first, again):
        assert len(builder.as_data_source("train")) == 4
        assert builder.info.metadata["left_out"] == []


def test_what_a_killed_process_left_is_removed(folder, tmp_path):
    left = tmp_path / "tfds/llp/base/incomplete.ABC123_1.0.0"
    left.mkdir(parents=True)
    prepare("llp/base", tmp_path / "tfds", folder)
    assert not left.exists()
    assert not list((tmp_path / "tfds/llp").glob(".*.lock"))


def test_of_two_processes_one_prepares_and_the_other_waits(
    prepared_once, folder, tmp_path, monkeypatch
):
    holding, printed = lock(str(tmp_path / "tfds/llp/.base.lock")), []

    def see(text, **_):
        printed.append(text)
        shutil.copytree(prepared_once, tmp_path / "tfds", dirs_exist_ok=True)
        holding.__exit__(None, None, None)

    monkeypatch.setattr("builtins.print", see)
    holding.__enter__()
    builder = prepare("llp/base", tmp_path / "tfds", folder)
    assert len(builder.as_data_source("train")) == 4
    assert printed == [printed[0]]
    assert re.fullmatch("llp/base: process .* is preparing it; waiting for that", printed[0])


def test_a_home_folder_is_expanded(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder, tmp_path / "DATA")
    prepare("llp/base", "~/tfds", "~/DATA")
    assert (tmp_path / "tfds/llp/base").exists() and not (tmp_path / "~").exists()


@pytest.mark.parametrize("dataset", ["base", "llp", "llp/bse", "llp/base/1.0.0", "mnist", ""])
def test_an_unknown_name_is_refused_with_the_known_ones(dataset, tmp_path):
    known = "llp/base, llp/base_frames, llp/clip_clap, llp/synthetic"
    with pytest.raises(UserError, match=known) as refusal:
        prepare(dataset, tmp_path)
    assert repr(dataset) in one_line(refusal)


@pytest.mark.parametrize("seed", [-1, 1.5, "0", None])
def test_a_seed_that_is_no_whole_number_is_refused(seed, tmp_path):
    with pytest.raises(UserError, match="seed"):
        prepare("llp/synthetic", tmp_path, synthetic_seed=seed)


@pytest.mark.parametrize("dataset", ["llp/base", "llp/clip_clap"])
def test_without_data_it_says_how_to_get_them_and_how_to_try_without(dataset, tmp_path):
    with pytest.raises(UserError) as refusal:
        prepare(dataset, tmp_path / "tfds")
    message = one_line(refusal)
    for words in (
        dataset,
        "github.com/YapengTian/AVVP-ECCV20",
        "NTUBarista/valor_features",
        "python -m tfds_llp.extract",
        "--config.data.manual_dir",
        "--config=configs/han.py:synthetic",
    ):
        assert words in message
    assert not (tmp_path / "tfds").exists()


def test_tfds_own_manual_folder_is_looked_at(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "tfds/downloads/manual/llp")
    assert len(prepare("llp/base", tmp_path / "tfds").as_data_source("test")) == 3


def test_videos_left_out_once_must_be_allowed_again(folder, tmp_path):
    incomplete = shutil.copytree(folder, tmp_path / "DATA")
    (incomplete / "feats/vggish/testvideo01.npy").unlink()
    prepare("llp/base", tmp_path / "tfds", incomplete, allow_missing_features=True)
    prepare("llp/base", tmp_path / "tfds", allow_missing_features=True)
    with pytest.raises(UserError, match="without 1 videos.*allow_missing_features") as refusal:
        prepare("llp/base", tmp_path / "tfds", incomplete)
    one_line(refusal)


def run(*arguments):
    path = os.pathsep.join(p for p in sys.path if p)
    return subprocess.run(
        [sys.executable, "-m", "tfds_llp.prepare", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )


def test_the_command_prepares(folder, tmp_path):
    done = run("--dataset=llp/base", f"--data_dir={tmp_path}/tfds", f"--manual_dir={folder}")
    assert done.returncode == 0
    assert done.stdout.endswith("4 train, 2 val, 3 test videos\n")


def test_the_command_ends_a_mistake_in_one_line_and_code_2(tmp_path):
    done = run("--dataset=llp/base", f"--data_dir={tmp_path}/tfds", "--manual_dir=/nowhere")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("/nowhere: no published")
