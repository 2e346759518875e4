"""Parsing with teachers alone: what is known to be in videos is found, and all files say how."""

import csv
import dataclasses
import json
import shutil

import numpy as np
import pytest

from avvp_jax.encoders.classes import read_classes
from avvp_jax.encoders.extractor import Extractor
from avvp_jax.errors import UserError
from avvp_jax.experiment.records import remember
from avvp_jax.modes import parse as mode
from avvp_jax.modes import run, zero_shot
from avvp_jax.modes.zero_shot import teachers_parser
from avvp_jax.streams import data_spec
from avvp_jax.task import LLP, Task
from configs.han import get_config as han
from configs.valor import get_config
from tests.encoders import made_up_towers as towers
from tests.encoders.told_videos import NOT, VIDEOS, events_of, write_classes, write_video
from tests.launching import launch

LONG = (  # 25 seconds
    [0] * 4 + [NOT] * 3 + [2] * 6 + [NOT] * 2 + [1] * 7 + [NOT] + [0] * 2,
    [NOT] * 2 + [1] * 7 + [NOT] * 3 + [0] * 5 + [NOT] + [2] * 6 + [NOT],
)


@pytest.fixture(scope="module")
def extractor(taught):
    """That of the classes in these videos: its logits are the same for all thresholds."""
    _, teachers = read_classes(str(taught / "classes.csv"))
    task = Task("classes by name", towers.NAMES, LLP.segments, LLP.seconds)
    return Extractor((), task, str(taught / "weights"), teachers=teachers)


@pytest.fixture
def config(taught, extractor, monkeypatch):
    """VALOR's config with the teachers, who read their weights once for all tests."""

    def made(streams, task, weights_dir, arithmetic, teachers):
        same = streams == () and task == extractor.task and arithmetic == extractor.arithmetic
        prompts = {modality: each.prompts for modality, each in teachers.items()}
        same &= prompts == {modality: x.prompts for modality, x in extractor.teachers.items()}
        if same and weights_dir == str(taught / "weights"):
            return extractor
        return Extractor(streams, task, weights_dir, arithmetic, teachers)

    monkeypatch.setattr(zero_shot, "Extractor", made)
    config = get_config()
    config.parse.teachers = str(taught / "classes.csv")
    config.extract.weights_dir = str(taught / "weights")
    return config


def events(parse):
    return sorted((e.modality, e.label, e.onset, e.offset) for e in parse.events)


@pytest.mark.parametrize("fidelity", ["published", "direct"])
def test_what_is_in_videos_is_found_second_by_second(fidelity, config, taught):
    config.extract.fidelity = fidelity
    parser = teachers_parser(config)
    paths = [str(taught / f"videos/{name}.mkv") for name in VIDEOS]
    for name, parse in zip(VIDEOS, parser.parses(paths), strict=True):
        assert parse.name == name and parse.zero_shot and not parse.remarks
        assert events(parse) == events_of(*VIDEOS[name])


@pytest.mark.parametrize("hop, windows", [(0, 3), (5, 4)])
def test_a_longer_one_is_parsed_in_windows_that_may_overlap(hop, windows, config, tmp_path):
    config.parse.hop = float(hop)
    path = write_video(tmp_path / "long.mkv", *LONG)
    (parse,) = teachers_parser(config).parses([path])
    assert len(parse.windows) == windows and parse.probs["frame_prob"].shape == (25, 2, 3)
    assert events(parse) == events_of(*LONG)


def test_nothing_is_heard_without_sound_or_seen_without_a_picture(config, tmp_path):
    seen, heard = VIDEOS["a"]
    # Below all logits: whatever teachers say of what is not there must not count.
    config.parse.teachers = write_classes(tmp_path / "low.csv", visual=-1e6, audio=-1e6)
    silent = write_video(tmp_path / "silent.mkv", seen)
    dark = write_video(tmp_path / "dark.wav", (), heard)
    of_silent, of_dark = teachers_parser(config).parses([silent, dark])
    assert {event.modality for event in of_silent.events} == {"visual"}
    assert of_silent.remarks == ["no sound: nothing is heard in it, only seen"]
    assert {event.modality for event in of_dark.events} == {"audio"}
    assert of_dark.remarks == ["no picture: nothing is seen in it, only heard"]


def test_a_logit_is_compared_with_its_threshold_strictly(config, taught, tmp_path):
    """Half is what a logit at the threshold is given."""
    path = str(taught / "videos/a.mkv")
    (parse,) = teachers_parser(config).parses([path])
    frame = parse.probs["frame_prob"]
    assert frame.dtype == np.float32 and ((frame > 0.5) == parse.segments).all()
    assert frame[0, 1, 0] > 0.99 and frame[2, 1].max() < 0.01  # seen; nothing is in the dark


@pytest.fixture
def drawn(monkeypatch):
    """Titles of the pictures."""
    titles, draw = [], mode.draw_timeline

    def note(path, title, *more):
        titles.append(title)
        draw(path, title, *more)

    monkeypatch.setattr(mode, "draw_timeline", note)
    return titles


def test_every_output_says_that_it_is_zero_shot(config, taught, tmp_path, drawn, capsys):
    assert run(config, str(tmp_path / "W"), "parse", [str(taught / "videos/a.mkv")]) == 0
    out, folder = capsys.readouterr().out, tmp_path / "W/parses"
    endings = ["json", "labels.txt", "npz", "png", "vtt"]
    tables = [f"zero_shot_events_{modality}.csv" for modality in ("audio", "visual")]
    names = [f"a.zero_shot.{ending}" for ending in endings]
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [*names, *tables, "report.html"]
    )

    expected = events_of(*VIDEOS["a"])
    record = json.loads((folder / "a.zero_shot.json").read_text())
    assert record["zero_shot"] is True and "zero-shot" in record["model"]["method"]
    of_record = [(e["modality"], e["class"], e["onset"], e["offset"]) for e in record["events"]]
    assert sorted(of_record) == expected
    assert record["model"]["classes"] == str(taught / "classes.csv")
    assert record["model"]["prompts"]["visual"][1] == "A photo of big dog."
    assert record["model"]["thresholds"] == {"audio": [5] * 3, "visual": [20] * 3}
    assert set(record["model"]["weights"]) == {"clip_logits", "clap_logits"}
    with np.load(folder / "a.zero_shot.npz") as arrays:
        assert arrays["zero_shot"] and list(arrays["classes"]) == ["Bell", "Big_dog", "Train"]
    subtitles = (folder / "a.zero_shot.vtt").read_text()
    assert "NOTE zero-shot" in subtitles
    assert subtitles.count(" (zero-shot)\n") == subtitles.count(" --> ") == len(expected)
    track = (folder / "a.zero_shot.labels.txt").read_text().splitlines()
    assert len(track) == len(expected) and all(line.endswith(" (zero-shot)") for line in track)
    assert drawn == ["a (zero-shot)"] and "a (10 s, zero-shot)" in out
    for modality, table in zip(("audio", "visual"), tables, strict=True):
        rows = list(csv.reader((folder / table).open(), delimiter="\t"))[1:]
        rows = [(modality, label, int(on), int(off)) for _, on, off, label in rows]
        assert sorted(rows) == [each for each in expected if each[0] == modality]


def test_what_a_trained_parser_found_stays_beside_it(config, taught, tmp_path, monkeypatch, drawn):
    video, folder = str(taught / "videos/b.mkv"), tmp_path / "W/parses"
    page = folder / "report.html"
    trained = dataclasses.replace(teachers_parser(config), zero_shot=False, facts={})
    monkeypatch.setattr(mode, "video_parser", lambda config, workdir: trained)

    def files():
        return {path.name: path.read_bytes() for path in folder.iterdir() if path != page}

    assert run(han(), str(tmp_path / "W"), "parse", [video]) == 0
    of_trained = files()
    assert run(config, str(tmp_path / "W"), "parse", [video]) == 0
    both = files()
    assert {name: both[name] for name in of_trained} == of_trained
    assert len(both) == 2 * len(of_trained) and drawn == ["b", "b (zero-shot)"]
    assert not any("zero" in name or b"zero-shot" in x for name, x in of_trained.items())
    text = page.read_text()
    assert text.index('"title":"b (zero-shot)"') < text.index('"title":"b"')
    assert "1 of them zero-shot: parsed by teachers" in text


@pytest.mark.parametrize("missing", [{"visual": "auto"}, {"audio": None}, {"visual": None}])
def test_thresholds_that_are_not_known_are_refused_with_the_way_to_them(missing, config, tmp_path):
    config.parse.teachers = write_classes(tmp_path / "unknown.csv", **missing)
    with pytest.raises(UserError, match="no thresholds for Bell, Big_dog.*taught_classes") as told:
        run(config, str(tmp_path / "W"), "parse", [write_video(tmp_path / "x.mkv", [0], [0])])
    said = str(told.value)
    assert said.startswith(config.parse.teachers) and "tfds_llp.teach" in said
    assert not list((tmp_path / "W").rglob("*.csv"))


def test_classes_or_weights_that_are_not_there_are_named(config, taught, tmp_path):
    video = str(taught / "videos/a.mkv")
    config.parse.teachers = str(tmp_path / "gone.csv")
    with pytest.raises(UserError, match=r"gone\.csv: .*needs a list of classes"):
        run(config, str(tmp_path / "W"), "parse", [video])
    config.parse.teachers = str(taught / "classes.csv")
    config.extract.weights_dir = str(tmp_path / "none")
    with pytest.raises(UserError, match="none: has no .*--download"):
        run(config, str(tmp_path / "W"), "parse", [video])


@pytest.mark.parametrize("before", ["nothing", "a config"])
def test_a_command_needs_no_config_in_a_new_folder_or_in_that_of_a_run(before, taught, tmp_path):
    workdir = tmp_path / "W"
    if before == "a config":
        workdir.mkdir()
        spec = data_spec("base", LLP)
        remember(han(), str(workdir), spec, {})
        content = (workdir / "config.json").read_bytes()
    shutil.copy(taught / "videos/a.mkv", tmp_path)
    done = launch(
        "--mode=parse",
        f"--workdir={workdir}",
        f"--config.parse.teachers={taught}/classes.csv",
        f"--config.extract.weights_dir={taught}/weights",
        str(tmp_path / "a.mkv"),
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and "1 of 1 videos" in done.stdout
    for modality, label, onset, offset in events_of(*VIDEOS["a"]):
        said = f"{onset:8.1f} to {offset:.1f} s"
        verb = {"audio": "heard", "visual": "seen"}[modality]
        assert f"{said:<24}{verb:<7}{label}" in done.stdout
    assert (workdir / "parses/a.zero_shot.json").exists()
    if before == "a config":
        assert (workdir / "config.json").read_bytes() == content
    else:
        assert not (workdir / "config.json").exists()
