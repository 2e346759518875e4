"""AVE's annotations become a folder of one's own."""

import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tfds_llp.own.converting import found, read, refused, run, weak

HEADER = "Category&VideoID&Quality&StartTime&EndTime\n"
SPEECH = "Male speech, man speaking"
TRAIN = f"Church bell&RUhOCu3LNXM&good&0&10\n{SPEECH}&0giAfYq9oVM&good&3&9\n"
VAL = f"Bark&-J2WJaG1Dd4&good&0&3\n{SPEECH}&-J2WJaG1Dd4&good&2&10\n"
TEST = "Bark&_QQP43H56TA&good&7&9\nBark&VWi2ENBuTbw&good&0&0\n"
FILES = {"Annotations.txt": HEADER + TRAIN + VAL + TEST, "trainSet.txt": TRAIN}
FILES |= {"valSet.txt": VAL, "testSet.txt": TEST}


@pytest.fixture
def ave(tmp_path):
    return put(tmp_path / "AVE", FILES)


def put(folder, files):
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def test_events_of_each_split_and_their_classes_in_published_order(ave, tmp_path, capsys):
    run("ave", ave, tmp_path / "DATA")
    own = read(tmp_path / "DATA")
    assert own.task.classes == ("Church bell", SPEECH, "Bark")
    assert weak(own, "train") == {"RUhOCu3LNXM": ["Church bell"], "0giAfYq9oVM": [SPEECH]}
    assert weak(own, "val") == {"-J2WJaG1Dd4": [SPEECH, "Bark"]}
    assert weak(own, "test") == {"_QQP43H56TA": ["Bark"], "VWi2ENBuTbw": []}
    assert found(own, "-J2WJaG1Dd4") == {SPEECH: [*range(2, 10)], "Bark": [0, 1, 2]}
    assert found(own, "_QQP43H56TA") == {"Bark": [7, 8]} and found(own, "VWi2ENBuTbw") == {}
    assert own.splits["test"].dense.all()  # that nothing occurs is known too
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith("3 classes; clips: 2 train, 1 val, 2 test; 1 without events")
    assert said[1:] == ["1 events end where they begin, and are left out: VWi2ENBuTbw (Bark)"]


@pytest.mark.parametrize(
    "change", [lambda text: text.removeprefix(HEADER), lambda text: text.replace("\n", "\r\n")]
)
def test_copies_differ_in_header_and_line_ends(ave, tmp_path, change):
    run("ave", ave, tmp_path / "A")
    put(ave, {name: change(text) for name, text in FILES.items()})
    run("ave", ave, tmp_path / "B")
    for name in os.listdir(tmp_path / "A"):
        assert (tmp_path / "A" / name).read_bytes() == (tmp_path / "B" / name).read_bytes()


def test_a_video_of_two_splits_is_in_the_last_alone(ave, tmp_path, capsys):
    put(ave, {"trainSet.txt": TRAIN + VAL.splitlines()[0] + "\n" + TEST.splitlines()[0]})
    run("ave", ave, tmp_path / "DATA")
    own = read(tmp_path / "DATA")
    assert own.splits["train"].ids == ["RUhOCu3LNXM", "0giAfYq9oVM"]
    assert found(own, "-J2WJaG1Dd4") == {SPEECH: [*range(2, 10)], "Bark": [0, 1, 2]}
    said = "2 videos are in several splits, and stay in the last of them: -J2WJaG1Dd4, _QQP43H56TA"
    assert said in capsys.readouterr().out


def test_videos_are_linked_and_those_that_are_missing_are_named(ave, tmp_path, capsys):
    videos = tmp_path / "mp4"
    videos.mkdir()
    for name in ("RUhOCu3LNXM", "0giAfYq9oVM", "-J2WJaG1Dd4", "other"):
        (videos / f"{name}.mp4").touch()
    run("ave", ave, tmp_path / "DATA", "--videos", videos)
    assert (tmp_path / "DATA/videos").is_symlink()
    assert (tmp_path / "DATA/videos").resolve() == videos.resolve()
    said = capsys.readouterr().out
    assert f"2 videos have no file in {videos}: _QQP43H56TA, VWi2ENBuTbw" in said
    assert f"1 files in {videos} belong to no video: other" in said


rows = st.lists(
    st.tuples(
        st.sampled_from("ABC"), st.sampled_from("uvwx"), st.integers(0, 10), st.integers(0, 10)
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=30, deadline=None)
@given(rows)
def test_labels_are_those_of_the_rows(tmp_path_factory, rows):
    rows = [(label, video, *sorted(span)) for label, video, *span in rows]
    folder = tmp_path_factory.mktemp("ave")
    test = "".join(f"{a}&{v}&good&{s}&{e}\n" for a, v, s, e in rows)
    train, val = "A&t&good&0&1\n", "B&s&good&0&1\n"
    ave = put(folder / "AVE", {"Annotations.txt": train + test + val, "trainSet.txt": train})
    put(ave, {"valSet.txt": val, "testSet.txt": test})
    run("ave", ave, folder / "DATA")
    own = read(folder / "DATA")
    for video in {video for _, video, *_ in rows}:
        there = {}
        for label, _, start, end in (row for row in rows if row[1] == video):
            there.setdefault(label, set()).update(range(start, end))
        assert found(own, video) == {a: sorted(there[a]) for a in there if there[a]}
        assert set(weak(own, "test")[video]) == {a for a in there if there[a]}


BAD = [
    ("Annotations.txt", None, "cannot be read"),
    ("testSet.txt", None, "testSet.txt of AVE there"),
    ("Annotations.txt", "", "is empty"),
    ("Annotations.txt", HEADER, "names no event"),
    ("Annotations.txt", "<!DOCTYPE html><html>", "web page"),
    ("Annotations.txt", "Category,VideoID\nBark,abc\n", "lines that are not Category&VideoID"),
    ("trainSet.txt", TRAIN + "Bark&abc&good&1\n", "EndTime: 3"),
    ("Annotations.txt", TRAIN + VAL, "testSet.txt: names videos that Annotations.txt lacks"),
    ("Annotations.txt", FILES["Annotations.txt"] + "Bark&abc&good&9&3\n", "8 (9&3)"),
    ("Annotations.txt", FILES["Annotations.txt"] + "Bark&abc&good&3&11\n", "8 (3&11)"),
    ("valSet.txt", "Bark&-J2WJaG1Dd4&good&nan&3\n", "1 (nan&3)"),
    ("valSet.txt", "Bark&-J2WJaG1Dd4&good&-1&1e999999\n", "1 (-1&1e999999)"),
    ("valSet.txt", VAL + "Bark&../../x&good&0&3\n", "no ids of videos: '../../x'"),
    ("valSet.txt", VAL + "Bark&/etc/x&good&0&3\n", "no ids of videos: '/etc/x'"),
    ("valSet.txt", "&-J2WJaG1Dd4&good&0&3\n", "no names of classes: ''"),
    ("valSet.txt", "Ba\x00rk&-J2WJaG1Dd4&good&0&3\n", "no names of classes"),
]


@pytest.mark.parametrize(("file", "text", "says"), BAD)
def test_damaged_files_are_refused_in_a_line(ave, tmp_path, file, text, says):
    (ave / file).unlink()
    if text is not None:
        put(ave, {file: text})
    line = refused(tmp_path, "ave", ave, tmp_path / "DATA")
    assert file in line and says in line


def test_what_is_there_is_not_overwritten(ave, tmp_path):
    (tmp_path / "DATA").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    for name in ("DATA", "link"):
        assert "is there already" in refused(tmp_path, "ave", ave, tmp_path / name)
    assert not list((tmp_path / "DATA").iterdir())


def test_places_that_are_none_are_refused_in_a_line(ave, tmp_path):
    line = refused(tmp_path, "ave", ave, tmp_path / "DATA", "--videos", tmp_path / "none")
    assert "is no folder" in line
    assert "holds no video" in refused(tmp_path, "ave", ave, tmp_path / "D", "--videos", ave)
    assert "cannot be written" in refused(tmp_path, "ave", ave, ave / "trainSet.txt" / "DATA")
    assert "must be on this machine" in refused(tmp_path, "ave", ave, "gs://bucket/DATA")


def test_the_command_ends_with_one_line_and_exit_code_2(tmp_path):
    command = [sys.executable, "-m", "tfds_llp.convert", "ave", tmp_path / "none", tmp_path / "D"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"tfds_llp.convert: {tmp_path}/none/Annotations.txt: cannot be")
    assert done.stderr.count("\n") == 1
