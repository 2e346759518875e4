"""Extraction: what is written, what fails and why, and going on."""

import errno
import os
import shutil

import numpy as np
import pytest

from avvp_jax.errors import UserError
from avvp_jax.storage.feature_files import read_features
from avvp_jax.task import LLP
from tests.media.clips import CLIPS
from tests.tfds_llp.extracting import STREAMS, extract, good, report_of, statuses, tree
from tfds_llp import extract_report, extraction

HEAD = b"id,stream,status,reason,picture_seconds,sound_seconds\n"


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A folder of two videos, one of them in a folder below."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "below").mkdir()
    good(folder / "a.mp4")
    good(folder / "below/b.mkv", shade=150)
    return folder


@pytest.fixture(scope="module")
def done(two, tmp_path_factory):
    """What comes out of them."""
    data = tmp_path_factory.mktemp("done") / "DATA"
    assert extract(two, data) == 0
    return data


@pytest.fixture
def began(done, tmp_path):
    """A copy that may be changed."""
    return shutil.copytree(done, tmp_path / "DATA")


def test_the_published_layout_is_written_and_nothing_else(done):
    names = [f"{stream.folder}/{video}.npy" for stream in STREAMS for video in "ab"]
    assert sorted(tree(done)) == sorted([*names, "extract_report.csv", "extract_settings.json"])
    for stream in STREAMS:
        rows = np.load(done / stream.folder / "a.npy")
        assert rows.shape == (stream.rows(LLP), stream.width) and rows.dtype == np.float32
        read_features(done / stream.folder / "a.npy", stream, LLP)
    row = report_of(done)["a", "plain_sound"]
    assert (row["status"], row["reason"]) == ("made", "")
    assert float(row["picture_seconds"]) == pytest.approx(10, abs=0.1)
    assert float(row["sound_seconds"]) == pytest.approx(10, abs=0.1)


def test_what_is_there_is_neither_made_again_nor_touched(two, began, capsys):
    files = [path for path in began.rglob("*.npy")]
    times, before = {path: path.stat().st_mtime_ns for path in files}, tree(began)
    capsys.readouterr()
    assert extract(two, began) == 0
    assert {path: path.stat().st_mtime_ns for path in files} == times
    assert tree(began) == before
    assert "2 of 2 videos have all their features" in capsys.readouterr().out


def test_what_others_made_is_kept_and_what_is_lacking_is_made(two, began):
    elsewhere, lost = began / STREAMS[0].folder / "a.npy", began / STREAMS[1].folder / "b.npy"
    content = lost.read_bytes()
    (began / "extract_report.csv").unlink()
    elsewhere.write_bytes(b"of another program")
    lost.unlink()
    assert extract(two, began) == 0
    assert elsewhere.read_bytes() == b"of another program"
    assert lost.read_bytes() == content
    found = report_of(began)
    assert found["a", STREAMS[0].name]["status"] == "kept"
    assert found["b", STREAMS[1].name]["status"] == "made"
    assert extract(two, began) == 0 and report_of(began) == found


@pytest.mark.parametrize(
    ("flag", "says"),
    [
        ("--fidelity=direct", "fidelity=published and not direct"),
        ("--segments=5", "segments=10 and not 5"),
        ("--seconds=0.5", "seconds=1 and not 0.5"),
    ],
)
def test_other_settings_are_refused_and_nothing_changes(two, began, flag, says):
    before = tree(began)
    with pytest.raises(UserError, match=says) as told:
        extract(two, began, flag)
    assert str(began) in str(told.value) and "choose another folder" in str(told.value)
    assert tree(began) == before


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("extract_report.csv", b"\xff\xfe\x00garbage"),
        ("extract_report.csv", b""),
        ("extract_report.csv", HEAD + b"a,b,c,d,e,f\n"),
        ("extract_report.csv", HEAD + b"a,made\n"),
        ("extract_settings.json", b"{"),
        ("extract_settings.json", b"[1]"),
        ("extract_settings.json", b"[" * 100_000),
        (".extract_report.csv.0.journal", b"nonsense\n"),
        (".extract_report.csv.3.journal", b'["a", "b", 7]\n'),
        (".extract_report.csv.0.journal", b"\0" * 100 + b"\n"),
    ],
)  # fmt: skip
def test_damaged_notes_are_refused_with_the_way_out(two, began, name, content):
    (began / name).write_bytes(content)
    before = tree(began)
    with pytest.raises(UserError, match=f"{name}: damaged .*remove it") as told:
        extract(two, began)
    assert "\n" not in str(told.value)
    assert tree(began) == before


@pytest.mark.parametrize("name", ["extract_report.csv", "extract_settings.json"])
def test_a_folder_in_the_place_of_notes_is_refused(two, began, name):
    (began / name).unlink()
    (began / name).mkdir()
    with pytest.raises(UserError, match=f"{name}: damaged"):
        extract(two, began)


ODD = {
    "no sound": lambda path: shutil.copy(CLIPS / "no_audio.mp4", path),
    "no picture": lambda path: shutil.copy(CLIPS / "audio_only.mp4", path),
    "too short": lambda path: good(path, 4),
    "too long": lambda path: good(path, 14),
    "cut off": lambda path: shutil.copy(CLIPS / "truncated.mp4", path),
    "damaged": lambda path: path.write_bytes((CLIPS / "short.mp4").read_bytes()[:9000]),
    "text": lambda path: path.write_text("a text\n" * 99),
    "empty": lambda path: path.write_bytes(b""),
    "pipe": lambda path: os.mkfifo(path),
    "dead link": lambda path: path.symlink_to("gone.mp4"),
    "good": good,
    "new\nline": good,
    "carriage\rreturn": lambda path: path.write_bytes(b""),
    "next\x85line, \u2028and 'more' \"quotes\"": lambda path: path.write_bytes(b""),
    os.fsdecode(b"\xff\xfe"): lambda path: path.write_bytes(b""),
    "x" * 245: good,
}
SAYS = {  # by fidelity: of sound, of the picture; None is made, without a word
    "no sound": (("has no sound", None), ("has no sound", None)),
    "no picture": (("has no picture, without which", "has no picture"), (None, "has no picture")),
    "too short": (("has 4.0", "*has 4.0"), ("has 4.0", "has 4.0")),
    "too long": (("*first 10 s", "*all of it"), ("*first 10 s", "*first 10 s")),
    "cut off": (("*is cut off", "*is cut off"), ("has ", "has ")),
    "damaged": (("index of its frames",) * 2,) * 2,
    "text": (("not a video",) * 2,) * 2,
    "empty": (("is empty",) * 2,) * 2,
    "pipe": (("is not a file",) * 2,) * 2,
    "dead link": (("which is not there",) * 2,) * 2,
    "x" * 245: (("shorten it",) * 2,) * 2,
}


@pytest.fixture(scope="module", params=["published", "direct"])
def odd(request, tmp_path_factory):
    """Odd files beside a good one, extracted: the fidelity, DATA, and what was printed."""
    videos = tmp_path_factory.mktemp("odd")
    for name, make_it in ODD.items():
        make_it(videos / f"{name}.mp4")
    return request.param, videos


def test_each_odd_file_is_named_with_its_reason_and_the_rest_goes_on(odd, tmp_path, capfd):
    (fidelity, videos), data = odd, tmp_path / "DATA"
    flags = (f"--fidelity={fidelity}", "--workers=2")
    assert extract(videos, data, *flags) == 2
    err = capfd.readouterr().err
    found = report_of(data)
    assert {video for video, _ in found} == set(ODD)
    for name in ODD:
        for stream in STREAMS:
            row, there = found[name, stream.name], (data / stream.folder / f"{name}.npy").exists()
            says = SAYS.get(name, ((None,) * 2 if ODD[name] is good else ("is empty",) * 2,) * 2)
            says = says[fidelity == "direct"][stream.name != "plain_sound"]
            made = says is None or says.startswith("*")
            assert (row["status"], there) == ("made" if made else "failed", made), row
            assert (says or "").lstrip("*") in row["reason"] and (says or not row["reason"]), row
    assert not [name for name in tree(data) if "/." in name or name.startswith(".")]
    for line in err.split("\n"):
        assert line.replace("\r", "").isprintable(), line
    for name in ("no sound", "empty", "text"):
        assert sum(f"/{name}.mp4: " in line for line in err.split("\n")) == 1
    assert "in all, in extract_report.csv" in err
    before = tree(data)
    assert extract(videos, data, *flags, "--allow_failures") == 0
    assert tree(data) == before


def test_what_failed_succeeds_once_it_is_mended(tmp_path):
    videos, data = tmp_path / "V", tmp_path / "DATA"
    videos.mkdir()
    (videos / "x.mp4").write_bytes(b"")
    good(videos / "y.mp4")
    assert extract(videos, data) == 2
    assert statuses(data) == {"x": {"failed"}, "y": {"made"}}
    good(videos / "x.mp4")
    assert extract(videos, data) == 0
    assert statuses(data) == {"x": {"made"}, "y": {"made"}}


def test_what_failed_for_other_streams_is_no_failure_of_this_call(two, began):
    with (began / "extract_report.csv").open("a") as file:
        file.write("a,vggish,failed,has no sound,,\nz,plain_sound,failed,is empty,,\n")
    assert extract(two, began) == 0
    assert report_of(began)["a", "vggish"]["status"] == "failed"


@pytest.mark.parametrize("kind", ["empty", "missing", "dead link", "file"])
def test_a_folder_without_videos_is_refused_before_anything_is_made(kind, tmp_path):
    videos = tmp_path / "V"
    {
        "empty": videos.mkdir,
        "missing": lambda: None,
        "dead link": lambda: videos.symlink_to("gone"),
        "file": lambda: videos.write_bytes(b""),
    }[kind]()
    with pytest.raises(UserError, match="name the folder|holds no video") as told:
        extract(videos, tmp_path / "DATA")
    assert str(told.value).startswith(f"{videos}: ")
    assert not (tmp_path / "DATA").exists()


def test_two_videos_of_one_name_are_refused(tmp_path):
    for name in ("x.mp4", "x.mkv"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(UserError, match=r"x\.mp4: has the name of .*x\.mkv; rename or move"):
        extract(tmp_path, tmp_path / "DATA")


@pytest.mark.parametrize(
    ("data", "says"),
    [("file", "cannot be made"), ("file/below", "cannot be made"), ("dead", "cannot be made"),
     ("gs://bucket/x", "on this machine")],
)  # fmt: skip
def test_a_place_that_is_no_folder_is_refused(two, tmp_path, data, says):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "dead").symlink_to("gone")
    with pytest.raises(UserError, match=f"--data=.*{says}"):
        extract(two, data if "://" in data else tmp_path / data)


@pytest.mark.parametrize(
    ("module", "function", "names", "number"),
    [
        (extraction, "write_array", r"feats/plain_\w+/a.npy", errno.ENOSPC),
        (extract_report, "write_whole", "extract_settings.json", errno.EROFS),
        (extract_report.Journal, "add", "extract_report.csv", errno.EDQUOT),
    ],
)
def test_a_disk_that_takes_nothing_is_one_line_and_can_be_mended(
    two, done, tmp_path, monkeypatch, module, function, names, number
):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(module, function, refuse)
        with pytest.raises(UserError, match=f"{names}: cannot be written .*make room or mend"):
            extract(two, tmp_path / "DATA")
    assert not [name for name in tree(tmp_path / "DATA") if name.endswith((".tmp", ".lock"))]
    assert extract(two, tmp_path / "DATA") == 0
    assert tree(tmp_path / "DATA") == tree(done)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--workers=0"], "must be 1 or more"),
        (["--segments=0"], "a clip has one or more segments"),
        (["--seconds=nan"], "a clip has one or more segments"),
        (["--streams=bass"], "must be one of base, base_frames, clip_clap, plain, all, clip, clap"),
        (["--streams=clip_clap"], "has no .* weights"),
    ],
)
def test_flags_that_make_no_sense_are_refused(two, tmp_path, flags, says):
    with pytest.raises(UserError, match=says):
        extract(two, tmp_path / "DATA", *flags)
    assert not (tmp_path / "DATA").exists()
