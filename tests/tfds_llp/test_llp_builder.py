"""The TFDS builder: what it writes, and that it writes nothing from damaged input."""

import functools
import hashlib
import http.server
import os
import pickle
import resource
import shutil
import subprocess
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow_datasets as tfds

import tfds_llp
from avvp_jax.errors import UserError
from avvp_jax.streams import PSEUDO_LABELS, STREAM_SETS, STREAMS, pool_to_segments
from avvp_jax.task import LLP
from tests.tfds_llp.published_folder import (
    TEST,
    TRAIN,
    VAL,
    VIDEOS,
    ids,
    replace_text,
    write_published,
)
from tfds_llp import Llp, download, synthetic, synthetic_config
from tfds_llp import llp as llp_module
from tfds_llp.annotations import FILES

SPLITS = {"train": TRAIN, "val": VAL, "test": TEST}


@pytest.fixture
def folder(tmp_path):
    return write_published(tmp_path / "DATA", STREAM_SETS["base"])


@pytest.fixture
def data_dir(tmp_path):
    return tmp_path / "tfds"


def prepare(folder, data_dir, config="base", **kwargs):
    builder = Llp(config=config, data_dir=data_dir, **kwargs)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=folder))
    return builder


def refused(folder, data_dir, config="base", **kwargs):
    """The one line that a damaged folder ends in; nothing is written."""
    with pytest.raises(UserError) as refusal:
        prepare(folder, data_dir, config, **kwargs)
    assert not data_dir.exists()
    message = str(refusal.value)
    assert message.isprintable()
    return message


def read(builder, split):
    return list(builder.as_data_source(split))


def test_segments_and_labels_come_back_in_file_order(folder, data_dir):
    builder = prepare(folder, data_dir)
    for split, videos in SPLITS.items():
        examples = read(builder, split)
        assert [example["filename"].decode() for example in examples] == list(videos)
        assert [example["id"].decode() for example in examples] == ids(videos)
        assert {example["densely_labelled"] for example in examples} == {split != "train"}
        for example in examples:
            for name in STREAM_SETS["base"]:
                file = folder / STREAMS[name].folder / f"{example['id'].decode()}.npy"
                assert example[name].dtype == np.float32
                assert (example[name] == pool_to_segments(STREAMS[name], LLP, np.load(file))).all()
    first, second = read(builder, "val")
    assert first["weak_label"].dtype == first["audio_label"].dtype == np.uint8
    assert np.flatnonzero(first["weak_label"]).tolist() == [0, 13]
    assert first["audio_label"][:, 0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    assert second["audio_label"].sum() == 0
    assert read(builder, "test")[1]["visual_label"][:, 4].sum() == 6
    assert sum(example["audio_label"].sum() for example in read(builder, "train")) == 0


def test_clip_clap_holds_its_three_streams(tmp_path, data_dir):
    folder = write_published(tmp_path / "DATA", STREAM_SETS["clip_clap"])
    example = read(prepare(folder, data_dir, "clip_clap"), "test")[2]
    assert set(STREAMS) & set(example) == set(STREAM_SETS["clip_clap"])
    clap = np.load(folder / "CLAP/features/testvideo03.npy")
    assert (example["clap"] == pool_to_segments(STREAMS["clap"], LLP, clap)).all()


def test_tfds_finds_the_builder_and_its_data_by_name(folder, data_dir):
    prepare(folder, data_dir)
    builder = tfds.builder("llp/base", data_dir=data_dir)
    assert isinstance(builder, Llp)
    builder.download_and_prepare()
    assert len(builder.as_data_source("train")) == 4
    assert len(pickle.loads(pickle.dumps(builder)).as_data_source("val")) == 2


def test_tfds_builder_takes_allow_missing_features(folder, data_dir):
    (folder / "feats/vggish/testvideo03.npy").unlink()
    builder = tfds.builder("llp/base", data_dir=data_dir, allow_missing_features=True)
    config = tfds.download.DownloadConfig(manual_dir=folder)
    builder.download_and_prepare(download_config=config)
    assert len(builder.as_data_source("test")) == 2


def test_the_folder_may_stand_in_the_manual_dir_as_llp(tmp_path, data_dir):
    write_published(tmp_path / "manual/llp", STREAM_SETS["base"])
    assert len(prepare(tmp_path / "manual", data_dir).as_data_source("train")) == 4


def test_order_holds_over_many_shards(folder, data_dir, monkeypatch):
    monkeypatch.setattr(llp_module, "_BYTES_PER_SHARD", 150_000)
    builder = prepare(folder, data_dir)
    assert builder.info.splits["train"].num_shards == 3
    assert [example["id"].decode() for example in read(builder, "train")] == ids(TRAIN)


def test_prepared_data_is_not_prepared_again(folder, data_dir):
    prepare(folder, data_dir)
    shutil.rmtree(folder)
    assert len(prepare(folder, data_dir).as_data_source("train")) == 4


def test_it_prepares_and_reads_without_tensorflow_or_jax(folder, data_dir):
    program = f"""
import sys
import tensorflow_datasets as tfds
import tfds_llp
builder = tfds.builder("llp/base", data_dir={str(data_dir)!r})
builder.download_and_prepare(
    download_config=tfds.download.DownloadConfig(manual_dir={str(folder)!r}))
assert len(list(tfds.builder("llp/base", data_dir={str(data_dir)!r}).as_data_source("val"))) == 2
assert not {{"tensorflow", "jax"}} & set(sys.modules)
"""
    path = os.pathsep.join(p for p in sys.path if p)
    run = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert run.returncode == 0, run.stderr
    assert "Reading features" in run.stderr and "100%" in run.stderr


def test_the_oddities_are_printed_once_and_kept(folder, data_dir, capsys):
    metadata = prepare(folder, data_dir).info.metadata
    printed = capsys.readouterr().out
    assert printed.count("rows with onset > offset") == 1
    found = metadata["annotations"]["AVVP_eval_audio.csv: rows with onset = offset, no segment"]
    assert found == {
        "count": 2,
        "examples": ["valvideo_02_10_20 (10, 10)", "CSWQ_HzQ_10_20 (9, 9)"],
    }
    assert (
        Llp(config="base", data_dir=data_dir).info.metadata["annotations"]
        == (metadata["annotations"])
    )


class TestPseudoLabels:
    @pytest.fixture
    def folder(self, tmp_path):
        return write_published(tmp_path / "DATA", STREAM_SETS["base"], pseudo_labels=True)

    def test_they_are_masked_by_the_weak_label_and_that_is_counted(self, folder, data_dir, capsys):
        builder = prepare(folder, data_dir)
        for split in SPLITS:
            for example in read(builder, split):
                for modality, segments in (("audio", slice(3, 5)), ("visual", slice(6, 9))):
                    teacher = np.zeros((10, 25), np.uint8)
                    teacher[segments, [0, 24]] = 1
                    expected = teacher * example["weak_label"]
                    assert (example[f"{modality}_pseudo_label"] == expected).all()
        assert builder.info.metadata["pseudo_labels"] is True
        # Nine videos, two classes, two or three segments; four labels fit: Speech 3 times,
        # Clapping once.
        audio, visual = 9 * 2 * 2 - 4 * 2, 9 * 2 * 3 - 4 * 3
        assert builder.info.metadata["masked_pseudo_labels"] == {"audio": audio, "visual": visual}
        assert f"{audio} audio and {visual} visual" in capsys.readouterr().out

    def test_without_any_they_are_zero(self, folder, data_dir):
        for subfolder in PSEUDO_LABELS.values():
            shutil.rmtree(folder / subfolder)
        builder = prepare(folder, data_dir)
        assert builder.info.metadata["pseudo_labels"] is False
        assert sum(example["audio_pseudo_label"].sum() for example in read(builder, "train")) == 0

    def test_one_teacher_alone_is_refused(self, folder, data_dir):
        shutil.rmtree(folder / "CLIP/segment_pseudo_labels")
        message = refused(folder, data_dir)
        assert "all videos or for none" in message and "missing (9): CLIP" in message

    def test_one_missing_file_is_refused_by_name(self, folder, data_dir):
        (folder / "CLAP/segment_pseudo_labels/valvideo_01.npy").unlink()
        message = refused(folder, data_dir)
        assert "missing (1): CLAP/segment_pseudo_labels/valvideo_01.npy;" in message

    def test_other_numbers_than_0_and_1_are_refused(self, folder, data_dir):
        np.save(folder / "CLIP/segment_pseudo_labels/valvideo_01.npy", np.full((10, 25), 2))
        assert "valvideo_01.npy pseudo labels must be 0 or 1" in refused(folder, data_dir)

    def test_videos_left_out_need_none(self, folder, data_dir):
        for subfolder in (*PSEUDO_LABELS.values(), "feats/vggish"):
            (folder / subfolder / "testvideo02.npy").unlink()
        builder = prepare(folder, data_dir, allow_missing_features=True)
        assert builder.info.metadata["pseudo_labels"] is True
        assert len(builder.as_data_source("test")) == 2


class TestMissingFeatures:
    def test_ten_files_and_the_count_are_listed(self, folder, data_dir):
        shutil.rmtree(folder / "feats/vggish")
        (folder / "feats/res152/testvideo01.npy").unlink()
        (folder / "feats/res152/testvideo02.npy").unlink()
        message = refused(folder, data_dir)
        assert "missing feature files (11): feats/vggish/trainvideo1.npy" in message
        assert message.count(".npy") == 10 and "11 in all" in message
        assert "allow_missing_features" in message and "Google Drive" in message

    def test_videos_without_all_files_are_left_out_if_allowed(self, folder, data_dir, capsys):
        (folder / "feats/vggish/AP0061o0Nvk.npy").unlink()
        (folder / "feats/res152/AP0061o0Nvk.npy").unlink()
        (folder / "feats/r2plus1d_18/testvideo02.npy").unlink()
        builder = prepare(folder, data_dir, allow_missing_features=True)
        left = {split: [e["id"].decode() for e in read(builder, split)] for split in SPLITS}
        assert left["train"] == [video for video in ids(TRAIN) if video != "AP0061o0Nvk"]
        assert left["test"] == ["testvideo01", "testvideo03"]
        assert builder.info.metadata["left_out"] == ["AP0061o0Nvk", "testvideo02"]
        assert "Leaving out 2 videos" in capsys.readouterr().out
        example = read(builder, "test")[1]
        assert np.flatnonzero(example["weak_label"]).tolist() == [23]

    def test_a_split_without_videos_is_refused(self, folder, data_dir):
        for video in ids(VAL):
            (folder / f"feats/vggish/{video}.npy").unlink()
        assert "no val video" in refused(folder, data_dir, allow_missing_features=True)

    def test_damaged_files_are_refused_even_so(self, folder, data_dir):
        (folder / "feats/vggish/AP0061o0Nvk.npy").unlink()
        (folder / "feats/res152/AP0061o0Nvk.npy").write_bytes(b"")
        (folder / "feats/vggish/testvideo02.npy").write_bytes(b"")
        message = refused(folder, data_dir, allow_missing_features=True)
        assert "damaged files (1): feats/vggish/testvideo02.npy is empty" in message


class Payload:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def each_vggish(write):
    def damage(folder):
        for video in VIDEOS:
            file = folder / f"feats/vggish/{video}.npy"
            file.unlink()
            write(file)
        for video in ids(TEST)[:2]:
            file = folder / f"feats/r2plus1d_18/{video}.npy"
            file.unlink()
            write(file)

    return damage


def loop(folder):
    shutil.rmtree(folder / "feats")
    (folder / "feats").symlink_to(folder / "feats")


def no_features(folder):
    shutil.rmtree(folder / "feats")


def feature_file_for_folder(folder):
    shutil.rmtree(folder / "feats/vggish")
    (folder / "feats/vggish").write_text("not a folder")


# The kinds of damage to one file are told apart in tests/damage, those to the csv files in
# test_annotations.py.
DAMAGE = {
    "eleven empty files": (each_vggish(lambda file: file.touch()), "damaged files (11): feats"),
    "eleven folders": (each_vggish(lambda file: file.mkdir()), "is a folder"),
    "eleven pickles": (
        each_vggish(lambda file: file.write_bytes(pickle.dumps(Payload()))),
        "is not a .npy file",
    ),
    "eleven object arrays": (
        each_vggish(lambda file: np.save(file, np.array([Payload()], object))),
        "never loaded",
    ),
    "eleven symlink loops": (each_vggish(lambda file: file.symlink_to(file)), "symbolic links"),
    "no feature folder": (no_features, "missing feature files (27): feats/"),
    "feature folder is a loop": (loop, "missing feature files (27): feats/"),
    "feature folder is a file": (feature_file_for_folder, "missing feature files (9): feats/"),
    "one annotation file missing": (
        lambda folder: (folder / "AVVP_eval_visual.csv").unlink(),
        "annotation files are missing: AVVP_eval_visual.csv",
    ),
    "unknown class": (
        lambda folder: replace_text(folder / "AVVP_train.csv", "Banjo", "Bagpipe"),
        "Bagpipe",
    ),
    "name that leaves the folder": (
        lambda folder: replace_text(folder / "AVVP_train.csv", "AP0061o0Nvk", "../AP0061o0Nvk"),
        "../AP0061o0Nvk_101.8_111.8",
    ),
    "absolute name": (
        lambda folder: replace_text(folder / "AVVP_train.csv", "AP0061o0Nvk", "/etc/passwd"),
        "/etc/passwd",
    ),
    "nothing there": (lambda folder: shutil.rmtree(folder), "no published LLP files"),
    "other files there": (
        lambda folder: (shutil.rmtree(folder), folder.mkdir(), (folder / "a.txt").touch()),
        "no published LLP files",
    ),
    "a file for the folder": (
        lambda folder: (shutil.rmtree(folder), folder.touch()),
        "no published LLP files",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_stops_before_anything_is_written_or_executed(
    folder, data_dir, damage, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    apply, words = DAMAGE[damage]
    apply(folder)
    message = refused(folder, data_dir)
    assert words in message and "DATA" in message
    assert message.count("feats/") <= 10 + 1, "ten files and the source"
    assert not (tmp_path / "executed").exists()


class TestWriting:
    def test_a_file_in_the_way_is_refused(self, folder, tmp_path):
        (tmp_path / "file").write_text("mine")
        with pytest.raises(UserError, match="not a folder"):
            prepare(folder, tmp_path / "file/tfds")
        assert (tmp_path / "file").read_text() == "mine"

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
    def test_a_folder_without_rights_is_refused(self, folder, tmp_path):
        (tmp_path / "locked").mkdir(mode=0o500)
        with pytest.raises(UserError, match="cannot be written"):
            prepare(folder, tmp_path / "locked/tfds")

    def test_too_little_room_is_refused_before_the_features_are_read(
        self, folder, data_dir, monkeypatch, capsys
    ):
        monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
        assert "needs 1 MB" in refused(folder, data_dir)
        assert "Reading features" not in capsys.readouterr().err

    def test_a_disk_that_fills_up_leaves_no_data_set_behind(self, folder, data_dir):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        try:
            with pytest.raises(UserError, match="cannot be written") as refusal:
                prepare(folder, data_dir)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert "\n" not in str(refusal.value)
        assert list((data_dir / "llp/base").iterdir()) == []
        assert len(prepare(folder, data_dir).as_data_source("train")) == 4


class TestDownload:
    @pytest.fixture
    def served(self, folder, tmp_path, monkeypatch):
        """The annotations on a local server instead of in the manual folder."""
        (tmp_path / "served").mkdir()
        for name in FILES:
            shutil.move(folder / name, tmp_path / "served" / name)
        handler = functools.partial(QuietHandler, directory=tmp_path / "served")
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/"
        monkeypatch.setattr(download, "ANNOTATIONS_URL", url)
        monkeypatch.setattr(
            Llp, "url_infos", {url + name: url_info(tmp_path / "served" / name) for name in FILES}
        )
        yield tmp_path / "served"
        server.shutdown()
        thread.join()
        server.server_close()

    def test_absent_annotations_are_downloaded(self, served, folder, data_dir):
        builder = prepare(folder, data_dir)
        assert [example["id"].decode() for example in read(builder, "train")] == ids(TRAIN)

    def test_files_downloaded_once_are_kept(self, served, folder, data_dir):
        prepare(folder, data_dir)
        shutil.rmtree(data_dir / "llp")
        shutil.rmtree(served)
        assert len(prepare(folder, data_dir).as_data_source("train")) == 4

    def test_a_damaged_copy_is_downloaded_again(self, served, folder, data_dir):
        prepare(folder, data_dir)
        shutil.rmtree(data_dir / "llp")
        replace_text(data_dir / "downloads/llp/AVVP_train.csv", "Banjo", "Cello")
        example = read(prepare(folder, data_dir), "train")[1]
        assert np.flatnonzero(example["weak_label"]).tolist() == [10]

    def test_a_changed_file_is_refused(self, served, folder, data_dir):
        replace_text(served / "AVVP_train.csv", "Banjo", "Cello")
        message = refused(folder, data_dir)
        assert "AVVP_train.csv: differs from the recorded checksum" in message

    def test_an_endless_file_is_refused(self, served, folder, data_dir):
        os.truncate(served / "AVVP_train.csv", 1 << 40)
        assert "differs from the recorded checksum" in refused(folder, data_dir)

    def test_a_file_that_is_not_there_is_refused(self, served, folder, data_dir):
        (served / "AVVP_train.csv").unlink()
        message = refused(folder, data_dir)
        assert "AVVP_train.csv: cannot be downloaded (404" in message

    def test_no_server_is_refused(self, served, folder, data_dir, monkeypatch):
        url = "http://127.0.0.1:1/"
        monkeypatch.setattr(download, "ANNOTATIONS_URL", url)
        monkeypatch.setattr(Llp, "url_infos", dict.fromkeys([url + name for name in FILES], None))
        message = refused(folder, data_dir)
        assert "cannot be downloaded (ConnectionError); put all AVVP_*.csv" in message

    def test_recorded_checksums_are_those_of_the_real_files(self):
        url = "https://raw.githubusercontent.com/YapengTian/AVVP-ECCV20/master/data/"
        assert set(Llp.url_infos) == {url + name for name in FILES}

    @pytest.mark.skipif(
        "AVVP_LLP_DIR" not in os.environ,
        reason="AVVP_LLP_DIR does not name the published annotations",
    )
    def test_the_published_files_have_the_recorded_checksums(self):
        for url, recorded in Llp.url_infos.items():
            file = os.path.join(os.environ["AVVP_LLP_DIR"], url.rsplit("/", 1)[1])
            assert url_info(file) == recorded


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def url_info(path):
    with open(path, "rb") as file:
        content = file.read()
    return tfds.download.checksums.UrlInfo(
        size=tfds.core.utils.Size(len(content)),
        checksum=hashlib.sha256(content).hexdigest(),
        filename=None,
    )


class TestSynthetic:
    @pytest.fixture
    def made_up(self, monkeypatch):
        """A generator of three videos, in place of the real one."""

        def generate(seed, sizes):
            return {split: [video(seed, split, i) for i in range(n)] for split, n in sizes.items()}

        def video(seed, split, number):
            rng = np.random.default_rng((seed, number))
            weak = (rng.random(25) < 0.2).astype(np.float32)
            segments = (rng.random((4, 10, 25)) < 0.5) * weak
            return SimpleNamespace(
                id=f"{split}{number}",
                filename=f"{split}{number}_0_10",
                streams={
                    name: rng.standard_normal((stream.rows(LLP), stream.width), np.float32)
                    for name, stream in STREAMS.items()
                },
                weak_label=weak,
                audio_label=segments[0],
                visual_label=segments[1],
                audio_pseudo_label=segments[2],
                visual_pseudo_label=segments[3],
            )

        monkeypatch.setattr(synthetic, "generate", generate, raising=False)
        monkeypatch.setattr(synthetic, "SIZES", {"train": 3, "val": 2, "test": 1})
        return generate

    def test_it_holds_all_streams_and_the_truth_of_every_split(self, made_up, data_dir):
        builder = Llp(config="synthetic", data_dir=data_dir)
        builder.download_and_prepare()
        for split, videos in made_up(0, {"train": 3, "val": 2, "test": 1}).items():
            examples = read(builder, split)
            assert len(examples) == len(videos)
            for example, video in zip(examples, videos, strict=True):
                assert example["id"].decode() == video.id
                assert example["densely_labelled"] == (split != "train")
                for label in ("weak_label", "audio_label", "visual_pseudo_label"):
                    assert (example[label] == getattr(video, label)).all()
                for name, features in video.streams.items():
                    assert (example[name] == pool_to_segments(STREAMS[name], LLP, features)).all()
        assert builder.info.metadata["pseudo_labels"] is True
        assert builder.info.metadata["left_out"] == []

    def test_seeds_stand_side_by_side(self, made_up, data_dir):
        first = {}
        for seed in (0, 7):
            builder = Llp(config=synthetic_config(seed), data_dir=data_dir)
            builder.download_and_prepare()
            first[seed] = read(builder, "train")[0]["vggish"]
        assert not np.array_equal(first[0], first[7])
        assert {path.name for path in (data_dir / "llp").iterdir()} >= {
            "synthetic",
            "synthetic_seed7",
        }

    def test_seed_0_is_the_config_that_tfds_knows(self):
        assert synthetic_config(0) is tfds_llp.Llp.builder_configs["synthetic"]
        assert synthetic_config(3).name == "synthetic_seed3" and synthetic_config(3).seed == 3
