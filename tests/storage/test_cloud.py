"""Work directories on cloud storage: gs:// against a server on this machine (tests/cloud.py)."""

import importlib.util
import json
import os
import signal
import threading
import time

import numpy as np
import pytest

from avvp_jax.errors import UserError
from avvp_jax.interchange.torch_files import PublishedFile, write_published
from avvp_jax.modes import run
from avvp_jax.modes.compare import compare
from avvp_jax.reports.pages.parse_page import ParsePage
from avvp_jax.reports.parses import Parse, write_all_events, write_parse
from avvp_jax.runtime import preemption
from avvp_jax.runtime.preemption import Preempted
from avvp_jax.storage import leases
from avvp_jax.storage.locks import lock
from avvp_jax.storage.reading import DamagedFile, is_there, read_bytes
from avvp_jax.storage.writing import Journal, set_aside, write_whole
from avvp_jax.task import Task
from tests.cloud import BUCKET, Cloud
from tests.launching import launch

WORKDIR = f"gs://{BUCKET}/W"

pytestmark = [
    pytest.mark.usefixtures("tensorboard"),
    # Not imported here, because it looks at the environment when it is.
    pytest.mark.skipif(importlib.util.find_spec("gcsfs") is None, reason="needs gcsfs"),
]


@pytest.fixture(scope="module")
def cloud():
    """A bucket that this process finds."""
    with Cloud() as served, pytest.MonkeyPatch.context() as patch:
        for name, value in served.environment.items():
            patch.setenv(name, value)
        yield served


@pytest.fixture(scope="module")
def han(small_config):
    config = small_config("han")
    config.eval.plots = 1
    return config


@pytest.fixture(scope="module")
def whole(han, tmp_path_factory):
    """A run in a folder, left alone."""
    workdir = tmp_path_factory.mktemp("whole") / "W"
    run(han, str(workdir), "train")
    return workdir


@pytest.fixture(scope="module")
def resumed(han, cloud):
    """Where the same run has been in a bucket, stopped after an epoch and started again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preemption, "_received", signal.SIGTERM)
        with pytest.raises(Preempted):
            run(han, WORKDIR, "train")
    assert any(name.startswith("W/train/latest/2/") for name in cloud.objects)
    assert "W/scores_test.json" not in cloud.objects
    assert "W/.lock" not in cloud.objects
    run(han, WORKDIR, "train")
    return WORKDIR


def test_events_of_videos_stay_in_the_tables_of_a_bucket(cloud):
    """And in the page: a later call of --mode=parse adds to what is there."""
    folder = f"gs://{BUCKET}/parses"
    task = Task("ducks", ("quack",), 1, 1)
    for name in ("first", "second"):
        frame = np.ones((1, 2, 1), np.float32)
        probs = {"frame_prob": frame, "global_prob": frame[:, 0]}
        parse = Parse(name, task, 1.0, probs, frame > 0.5, [], facts={"path": f"/{name}.mp4"})
        write_all_events(folder, [parse])
        page = ParsePage(folder)
        write_parse(folder, parse)
        page.add(parse)
        page.write()
    rows = content(cloud, "parses/events_audio.csv").decode().splitlines()[1:]
    assert rows == ["first\t0\t1\tquack", "second\t0\t1\tquack"]
    text = content(cloud, "parses/report.html").decode()
    at = [text.index(f'"sources":["file:///{name}.mp4"]') for name in ("second", "first")]
    assert at == sorted(at)


def content(cloud: Cloud, name: str) -> bytes:
    return cloud.objects[name][1]


def flip(cloud: Cloud, folder: str) -> None:
    """Changes one bit in the largest object of a checkpoint, which has arrays."""
    inside = [name for name in cloud.objects if name.startswith(f"{folder}/")]
    name = max(inside, key=lambda name: len(content(cloud, name)))
    data = bytearray(content(cloud, name))
    data[len(data) // 2] ^= 1
    cloud.write(name, bytes(data))


def logged(text: str) -> list[dict]:
    """What was logged of each epoch, but for its speed."""
    rows = [json.loads(line) for line in text.splitlines()]
    return [
        {name: value for name, value in row.items() if "second" not in name}
        for row in rows
        if any(name.endswith("train/loss") for name in row)
    ]


def test_a_run_in_a_bucket_that_was_stopped_ends_as_one_in_a_folder(cloud, whole, resumed):
    numbers = logged(content(cloud, "W/metrics.jsonl").decode())
    assert len(numbers) == 2
    assert numbers == logged((whole / "metrics.jsonl").read_text())
    same = ["per_video_test.csv", "per_class_val.txt"]
    same += [str(path.relative_to(whole)) for path in whole.rglob("*.png")]
    same += [str(path.relative_to(whole)) for path in whole.glob("*/latest/4/checksums/metadata")]
    same += [str(path.relative_to(whole)) for path in whole.glob("*/best/*/checksums/metadata")]
    assert len(same) == 2 + 2 + 1 + 1
    for name in same:
        assert content(cloud, f"W/{name}") == (whole / name).read_bytes(), name
    boards = [name for name in cloud.objects if name.startswith("W/tensorboard/")]
    assert bool(boards) == (whole / "tensorboard").exists()


def test_what_is_damaged_in_a_bucket_is_set_aside(han, cloud, whole, resumed, capfd):
    """The best model is made anew from the state, and the state from the one before."""
    best = next(path.name for path in whole.glob("train/best/*"))
    damaged = [f"W/train/best/{best}", "W/train/latest/4"]
    for folder in damaged:
        flip(cloud, folder)
    predict = ("--workdir=" + WORKDIR, "--mode=predict")
    refused = launch(*predict, extra=cloud.environment)
    assert refused.returncode == 2
    assert f"{WORKDIR}/train/best/{best}: damaged checkpoint" in refused.stderr
    run(han, WORKDIR, "train")
    warnings = capfd.readouterr().err
    assert f"warning: {WORKDIR}/train/latest/4: damaged checkpoint" in warnings
    assert any(name.startswith("W/train/latest/4.damaged/") for name in cloud.objects)
    assert launch(*predict, extra=cloud.environment).returncode == 0
    run(han, str(whole), "predict")
    assert content(cloud, "W/predictions_test.npz") == (whole / "predictions_test.npz").read_bytes()


def test_a_bucket_is_read_by_other_modes_and_refused_to_other_runs(han, resumed, whole):
    tables = compare([WORKDIR, str(whole)])
    assert f"{WORKDIR} (1 seed)" in tables
    other = han.copy_and_resolve_references()
    other.seed = 7
    with pytest.raises(UserError, match=f"{WORKDIR} belongs to a run with another config"):
        run(other, WORKDIR, "train")


def test_what_no_bucket_holds_is_refused(config, cloud, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no bucket none that you may see"):
        run(config, "gs://none/W", "train")
    for place in ("gs://", "ftp://host/W"):
        with pytest.raises(UserError, match="must be a path on this machine or gs://BUCKET/FOLDER"):
            run(config, place, "train")
    with pytest.raises(UserError, match=r"gs://none/W/scores_test.json: not there"):
        compare(["gs://none/W", f"gs://{BUCKET}/none"])
    with pytest.raises(UserError, match="model.pt: cannot be written.*on cloud storage"):
        write_published({f"gs://{BUCKET}/model.pt": PublishedFile({})})
    with pytest.raises(UserError, match="gs://none/file: cannot be written"):
        write_whole("gs://none/file", b"1")
    assert not os.listdir(tmp_path)


def test_files_in_a_bucket(cloud):
    path = f"gs://{BUCKET}/files/a"
    assert not is_there(path)
    write_whole(path, b"12345")
    assert is_there(path)
    assert read_bytes(path) == b"12345"
    with pytest.raises(DamagedFile, match="has 5 bytes, too many"):
        read_bytes(path, largest=4)
    with pytest.raises(DamagedFile, match="is a folder"):
        read_bytes(f"gs://{BUCKET}/files")
    with pytest.raises(DamagedFile, match="cannot be read"):
        read_bytes(f"gs://{BUCKET}/none")
    assert set_aside(path) == "a.damaged"
    assert not is_there(path)
    write_whole(path, b"")
    with pytest.raises(DamagedFile, match="is empty"):
        read_bytes(path)
    assert set_aside(path) == "a.damaged"
    for _ in range(2):
        write_whole(f"gs://{BUCKET}/files/b/c/d", b"1")
        assert set_aside(f"gs://{BUCKET}/files/b") == "b.damaged"
    names = {name for name in cloud.objects if name.startswith("files")}
    assert names == {"files/a.damaged", "files/b.damaged/c/d"}


def test_a_journal_in_a_bucket_keeps_its_lines(cloud):
    path = f"gs://{BUCKET}/journal"
    write_whole(path, b"one\nhalf of")
    journal = Journal(path)
    journal.add("two")
    journal.flush()
    assert content(cloud, "journal") == b"one\ntwo\n"


def test_a_lock_in_a_bucket_is_refused_to_others_while_its_holder_lives(cloud, monkeypatch):
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.05)
    path = f"gs://{BUCKET}/.lock"
    with lock(path) as held:
        assert held
        with pytest.raises(UserError, match=f"process {os.getpid()} on .* is there"):
            with lock(path, "{} is there"):
                pass
        ended = threading.Event()

        def follow():
            with lock(path, waiting="waiting for {}"):
                ended.set()

        following = threading.Thread(target=follow)
        following.start()
        assert not ended.wait(0.3)
    following.join()
    assert ended.is_set()
    assert ".lock" not in cloud.objects


def test_a_lock_in_a_bucket_that_nobody_writes_is_taken_over(cloud, monkeypatch, capfd):
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(leases, "LOST_SECONDS", 0.5)
    stopped, path = [], f"gs://{BUCKET}/.lock"
    write_whole(path, b"process 1 on away\nits token\n")
    with lock(path, "{} is there"):
        assert str(os.getpid()) in content(cloud, ".lock").decode()
    assert "of process 1 on away; looking" in capfd.readouterr().out
    # Whoever was taken for lost ends when it finds out.
    monkeypatch.setattr(leases.os, "_exit", lambda code: stopped.append(code) or time.sleep(0.1))
    with lock(path):
        while not stopped:  # the holder may just have looked, and writes over this once
            write_whole(path, b"process 2 on away\nits token\n")
            time.sleep(0.1)
    assert stopped[0] == 2
    assert ".lock: is of process 2 on away now; stopped here" in capfd.readouterr().err
