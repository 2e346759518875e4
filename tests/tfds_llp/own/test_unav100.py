"""UnAV-100's annotations become a folder of one's own, in clips."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tfds_llp.own.converting import found, read, refused, run, weak

NAMES = ("man speaking", "sea waves", "skateboarding")


def event(onset, offset, number, **more):
    label = NAMES[number % 3] if number < 3 else f"class {number}"
    return {"segment": [onset, offset], "label": label, "label_id": number} | more


def video(duration, subset, *events, **more):
    return {"duration": duration, "annotations": [*events], "subset": subset} | more


DATABASE = {
    "72f67ednp7w": video(27.68, "train", event(13.01, 15.78316, 2), event(21.01, 27.6, 2)),
    "8WSesSOfBrE": video(39, "test", event(0, 39, 1), event(9.7, 10.2, 0), fps=25.0),
    "_Vgj16TXFdU": video(9.4, "Validation", event(1.5, 2.4, 0)),
}


def put(folder, database, **more):
    path = folder / "unav100_annotations.json"
    path.write_text(json.dumps({"version": "unav100", "database": database} | more))
    return path


def test_videos_are_cut_into_clips_with_their_events(tmp_path, capsys):
    run("unav100", put(tmp_path, DATABASE), tmp_path / "DATA")
    own = read(tmp_path / "DATA")
    assert own.task.classes == NAMES
    clips = [own.clips[name] for name in own.splits["train"].ids]
    assert [(c.name, c.video, c.start, c.end) for c in clips] == [
        ("72f67ednp7w_0_10", "72f67ednp7w", 0, 10),
        ("72f67ednp7w_10_20", "72f67ednp7w", 10, 20),
        ("72f67ednp7w_20_27.68", "72f67ednp7w", 20, 27.68),
    ]
    assert [*weak(own, "train").values()] == [[], ["skateboarding"], ["skateboarding"]]
    assert found(own, "8WSesSOfBrE_0_10") == {"man speaking": [9], "sea waves": [*range(10)]}
    assert found(own, "8WSesSOfBrE_10_20") == {"sea waves": [*range(10)]}
    assert found(own, "_Vgj16TXFdU_0_9") == {"man speaking": [1]}
    assert all(own.splits[split].dense.all() for split in ("val", "test"))
    said = capsys.readouterr().out.splitlines()
    assert said == [
        f"{tmp_path / 'DATA'}: 3 classes; clips: 3 train, 1 val, 4 test; 1 without events"
    ]


def test_clips_of_other_segments(tmp_path):
    path = put(tmp_path, DATABASE)
    run("unav100", path, tmp_path / "DATA", "--segments", 4, "--seconds", "2.5")
    own = read(tmp_path / "DATA", 4, 2.5)
    assert own.splits["train"].ids[-1] == "72f67ednp7w_20_27.5"
    assert found(own, "8WSesSOfBrE_0_10") == {"man speaking": [3], "sea waves": [0, 1, 2, 3]}


times = st.one_of(st.integers(0, 60), st.floats(0, 60).map(lambda x: round(x, 5)))
events = st.lists(st.tuples(times, times, st.integers(0, 4)), max_size=5)
kinds = st.sampled_from([(10, 1.0), (3, 2.0), (60, 1.0), (7, 0.96)])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(times.filter(lambda x: x > 0), events), min_size=1, max_size=3), kinds)
def test_labels_of_clips_are_those_of_whole_videos_cut(tmp_path_factory, drawn, kind):
    """Through the files: against a program that counts the whole videos' segments slowly."""
    (segments, seconds), folder = kind, tmp_path_factory.mktemp("unav")
    drawn = [(d, [(*sorted(s), n) for *s, n in listed if min(s) < d]) for d, listed in drawn]
    database = {
        f"v{k}": video(d, "test", *(event(*e) for e in listed))
        for k, (d, listed) in enumerate(drawn)
    }
    database["t"] = video(1, "train", *(event(0, 1, n) for n in range(5)))
    database["w"] = video(1, "val")
    run("unav100", put(folder, database), folder / "DATA", f"--segments={segments}",
        f"--seconds={seconds}")  # fmt: skip
    own = read(folder / "DATA", segments, seconds)
    for k, (duration, listed) in enumerate(drawn):
        long, unit = (round(t * 100_000) for t in (duration, seconds))
        total = max(1, (2 * long + unit) // (2 * unit))
        whole = set()
        for onset, offset, number in listed:
            whole |= {(event(0, 1, number)["label"], s) for s in
                      active(onset, min(offset, duration), total, seconds)}  # fmt: skip
        names = [name for name in own.splits["test"].ids if own.clips[name].video == f"v{k}"]
        assert len(names) == -(-total // segments)
        assert {
            (label, segments * place + s)
            for place, name in enumerate(names)
            for label, where in found(own, name).items()
            for s in where
        } == whole
        assert all({*found(own, name)} == {*weak(own, "test")[name]} for name in names)


def active(onset, offset, total, seconds):
    """Segments that are half covered, or the first of those most covered; in units of 10 µs."""
    on, off, unit = (round(t * 100_000) for t in (onset, offset, seconds))
    covered = [max(0, min(off, (s + 1) * unit) - max(on, s * unit)) for s in range(total)]
    half = [s for s, part in enumerate(covered) if 2 * part >= unit]
    return half or [covered.index(max(covered))] * (max(covered) > 0)


def test_times_beyond_a_video_are_cut_and_counted(tmp_path, capsys):
    late = [event(s, s + 1, 1) for s in range(20)]
    odd = [event(19.5, 21, 0), event(-0.5, 1, 0), event(21, 22, 0), event(3, 3, 0)]
    database = {"a": video(1, "training", event(0, 1, 0)), "b": video(20, "val", *late, *odd)}
    run("unav100", put(tmp_path, database), tmp_path / "DATA")
    assert found(read(tmp_path / "DATA"), "b_10_20")["man speaking"] == [9]
    assert found(read(tmp_path / "DATA"), "b_0_10")["man speaking"] == [0]
    assert capsys.readouterr().out.splitlines()[1:] == [
        "1 events end where they begin, and are left out: b",
        "1 events begin behind the end of their video, and are left out: b",
        "2 events go beyond their video, and are cut: b, b",
    ]


def changed(**more):
    return {"72f67ednp7w": DATABASE["72f67ednp7w"] | more}


BAD = [
    ({}, "no videos under"),
    ({"../x": DATABASE["8WSesSOfBrE"]} | changed(), "no ids of videos: '../x'"),
    ({"a": 3}, "a: is no video"),
    (changed(subset="both"), "subset is 'both'; known: train, validation, test"),
    (changed(subset=None), "subset is None"),
    (changed(duration="long"), "duration is 'long', and no time"),
    (changed(duration=-1), "duration is -1 s"),
    (changed(duration=1e300), "no time in seconds"),
    (changed(duration=float("nan")), "duration is NaN"),
    (changed(duration=True), "duration is True"),
    (changed(annotations={}), "annotations are no list"),
    (changed(annotations=[3]), "event 1: has no segment"),
    (
        changed(annotations=[event(0, 1, 0), event(5, 2, 0)]),
        "event 2: ends at 2 s before",
    ),
    (changed(annotations=[event(0, float("inf"), 0)]), "a time of its segment is Infinity"),
    (changed(annotations=[event(0, 1, 0, label=None)]), "no label and label_id"),
    (changed(annotations=[event(0, 1, 0, label_id=float("nan"))]), "no label and label_id"),
    (changed(annotations=[event(0, 1, 0, label="\n")]), "no names of classes"),
    (changed(annotations=[event(0, 1, 0), event(0, 1, 0, label_id=5)]), "label_id 5 here and 0"),
    (changed(annotations=[event(0, 1, 0), event(0, 1, 1, label_id=0)]), "the same label_id: 0"),
    (changed(annotations=[event(300, 400, 0), event(0, 1, 0)]), "in seconds, not in frames"),
    (changed(annotations=[]), "has no event"),
    (changed(subset="test"), "no video to train with"),
]


@pytest.mark.parametrize(("database", "says"), BAD)
def test_damaged_videos_are_refused_in_a_line(tmp_path, database, says):
    path = put(tmp_path, database)
    line = refused(tmp_path, "unav100", path, tmp_path / "DATA")
    assert str(path) in line and says in line


TEXTS = [
    ("[1, 2]", "no videos under"),
    ('{"database": {"a": ', "is no intact json"),
    ('{"database": {"a": 1, "a": 2}}', "a stands there twice"),
    ("[" * 100_000, "is no intact json"),
    ("Category&VideoID", "is no intact json"),
    ('{"database": {"a": 1e99999999999999999999}}', "a"),
]


@pytest.mark.parametrize(("text", "says"), TEXTS)
def test_damaged_files_are_refused_in_a_line(tmp_path, text, says):
    (tmp_path / "x.json").write_text(text)
    assert says in refused(tmp_path, "unav100", tmp_path / "x.json", tmp_path / "DATA")


@pytest.mark.parametrize(
    "flag", ["--segments=0", "--segments=61", "--seconds=0", "--seconds=nan", "--seconds=x"]
)
def test_segments_that_no_clip_has_are_refused(tmp_path, flag):
    path = put(tmp_path, DATABASE)
    assert flag in refused(tmp_path, "unav100", path, tmp_path / "DATA", flag)
