"""Videos are parsed: what is heard and seen at which time, whatever they lack."""

import csv
import json
import os

import jax
import numpy as np
import pytest

from avvp_jax.api import TrainedParser
from avvp_jax.encoders import plain
from avvp_jax.encoders.extractor import Extractor
from avvp_jax.errors import UserError
from avvp_jax.experiment.weights import Weights
from avvp_jax.methods import METHODS
from avvp_jax.metrics.events import Decision
from avvp_jax.modes import parse as mode
from avvp_jax.modes import run
from avvp_jax.modes.parsing import ByNetwork, VideoParser
from avvp_jax.streams import data_spec
from avvp_jax.task import Task
from avvp_jax.training.predictor import FEWEST, Predictor
from configs.han import get_config
from tests.media.clips import make, tone
from tests.media.clips import plain as coloured
from tests.reports.pages.parsed import videos_in_page

TASK = Task("made up", ("light", "beep"), 4, 1)
SPEC = data_spec("plain", TASK)
LIGHT, BEEP = 0, 1


class Ears(Predictor):
    """In a network's place: hears beeps where there is sound, sees light where it is not dark."""

    def __init__(self):
        self.batches = []

    def predict(self, variables, features, lengths=None):
        (part,) = features.parts()
        self.lengths = lengths
        self.batches.append(len(part["audio"]))
        width = len(plain.sound(np.zeros((1, 96, 64), np.float32))[0]) // 4
        loud = part["audio"][..., :width].mean(axis=-1)
        dark = plain.frames(np.zeros((1, 112, 112, 3), np.uint8))[0]
        bright = np.abs(part["visual"] - dark).max(axis=-1) > 0.5
        frame = np.zeros((*loud.shape, 2, 2), np.float32)
        frame[..., 0, BEEP] = loud > loud.min() + 0.3
        frame[..., 1, LIGHT] = bright
        video = {f"{m}_prob": frame[:, :, i].max(axis=1) for i, m in enumerate(("audio", "visual"))}
        return {"frame_prob": frame, "global_prob": frame.max(axis=(1, 2)), **video}


def a_parser(hop=None, ears=None, **more):
    network, extractor = ByNetwork(ears or Ears(), {}, SPEC), Extractor(SPEC.streams, TASK)
    return VideoParser(extractor, network, TASK, Decision("global"), "direct", hop, **more)


def a_video(path, seconds, light=(), beeps=(), sound=True, picture=True):
    """Dark and silent but in the given seconds."""
    frames = []
    for frame in range(int(seconds * 8)):
        frames.append(coloured((250, 250, 20) if frame // 8 in light else (0, 0, 0)))
    heard = np.zeros(int(16_000 * seconds), np.int16)
    for second in beeps:
        heard[16_000 * second : 16_000 * (second + 1)] = tone(1)
    return make(
        path, frames if picture else [], 8, sound=heard if sound else None,
        sound_codec="pcm_s16le",
    )  # fmt: skip


def events(parse):
    return [(e.modality, e.label, e.onset, e.offset) for e in parse.events]


@pytest.mark.parametrize("hop", [None, 2.0, 1.0, 0.5])
def test_events_are_found_at_their_time_wherever_windows_are_cut(tmp_path, hop):
    path = a_video(tmp_path / "x.mkv", 11, light=(2, 3, 4, 10), beeps=(0, 7, 8))
    (parse,) = a_parser(hop).parses([path])
    assert events(parse) == [
        ("audio", "beep", 0, 1),
        ("visual", "light", 2, 5),
        ("audio", "beep", 7, 9),
        ("visual", "light", 10, 11),
    ]
    assert parse.probs["frame_prob"].shape == (11, 2, 2) and not parse.remarks
    starts = [start for start, _ in parse.windows]
    assert starts[0] == 0 and starts[-1] == 7 and starts == sorted(starts)


def test_a_video_shorter_than_a_window_ends_where_it_ends(tmp_path):
    path = a_video(tmp_path / "x.mkv", 2.5, light=(0, 1, 2), beeps=(1,))
    (parse,) = a_parser().parses([path])
    assert events(parse) == [("visual", "light", 0, 2.5), ("audio", "beep", 1, 2)]
    assert len(parse.segments) == 3 and parse.duration == 2.5
    assert any("no picture in the last 1.5 s" in each for each in parse.remarks)


@pytest.mark.parametrize(
    ("seconds", "length"), [(0.3, 1), (1.4, 1), (2.4, 2), (2.5, 3), (4, 4), (6.5, None)]
)
def test_a_parser_of_clips_of_any_length_is_told_how_long_a_short_video_is(
    seconds, length, tmp_path
):
    """Rounded as clips of its training are; windows of a longer video are whole."""
    path, ears = a_video(tmp_path / "x.mkv", seconds, light=(0,)), Ears()
    (parse,) = a_parser(ears=ears, any_length=True).parses([path])
    short = length in (1, 2, 3)  # of four
    assert ears.lengths.tolist() == [length] if short else ears.lengths is None
    assert len(parse.segments) == (length or 7)
    assert ("visual", "light", 0, min(1, seconds)) in events(parse)
    a_parser(ears=ears).parses([path]).__next__()
    assert ears.lengths is None


def test_nothing_is_heard_without_sound_or_seen_without_a_picture(tmp_path):
    """Whatever a network makes of silence and darkness."""

    class Dreamer(Ears):
        def predict(self, *given):
            return jax.tree.map(np.ones_like, super().predict(*given))

    silent = a_video(tmp_path / "silent.mkv", 4, light=(1,), sound=False)
    dark = a_video(tmp_path / "dark.wav", 4, beeps=(2,), picture=False)
    seen, heard = a_parser(ears=Dreamer()).parses([silent, dark])
    assert {event.modality for event in seen.events} == {"visual"}
    assert seen.remarks == ["no sound: nothing is heard in it, only seen"]
    assert not seen.probs["audio_prob"].any() and seen.probs["visual_prob"].all()
    assert {event.modality for event in heard.events} == {"audio"}
    assert heard.remarks == ["no picture: nothing is seen in it, only heard"]


def test_a_long_video_is_parsed_a_few_windows_at_a_time(tmp_path):
    beeps = (5, 77, 140)
    path = a_video(tmp_path / "x.mkv", 141, beeps=beeps)
    ears = Ears()
    (parse,) = a_parser(ears=ears).parses([path])
    assert ears.batches == [FEWEST, 4]
    assert [onset for *_, onset, _ in events(parse)] == list(beeps)


def test_a_network_says_of_a_clip_what_it_says_of_its_features(tmp_path, monkeypatch):
    """avvp_jax's parser: a window's parse is the prediction of its features."""
    path = a_video(tmp_path / "x.mkv", 4, light=(1,), beeps=(2, 3))
    layout = METHODS["han"].layout
    small = {"width": 16, "heads": 1, "feed_forward": 16}
    network = type(layout)(**{**vars(layout), "model": {**layout.model, **small}}).network(SPEC)
    weights = Weights(jax.jit(network.init)(jax.random.key(0)))
    parser = TrainedParser(network, weights, SPEC, Decision("global"), "direct")
    parse = parser.parse(path)
    extractor = Extractor(SPEC.streams, TASK)
    (reads,) = [r.window for r in _reads(path, extractor) if r.window is not None]
    prediction = parser.predict(extractor.finish(extractor.start(reads)))
    np.testing.assert_allclose(
        parse.probs["frame_prob"], prediction.frame_prob[0], rtol=1e-5, atol=1e-6
    )
    assert (parse.segments == prediction.segments[0]).all()
    with pytest.raises(UserError, match=r"none\.mp4"):
        parser.parse(tmp_path / "none.mp4")
    wrong = [{"fidelity": "exact"}, {"hop": -1.0}, {"dtype": "int8"}, {"hop": 400.0}]
    for each in [*wrong, {"weights_dir": 3}, *({"video": x} for x in (None, 3, b"x", [path]))]:
        with pytest.raises(UserError):
            parser.parse(**{"video": path, **each})
    monkeypatch.setenv("HOME", str(tmp_path))
    assert parser.parse("~/x.mkv").facts["path"] == path


def _reads(path, extractor):
    from avvp_jax.media.workers import read_all

    return list(read_all([path], extractor.wanted("direct"), workers=1))


@pytest.fixture
def small_parser(monkeypatch):
    monkeypatch.setattr(mode, "video_parser", lambda config, workdir: a_parser())


def test_every_video_has_its_files_and_bad_ones_a_line(tmp_path, small_parser, capsys):
    folder, workdir = tmp_path / "videos", tmp_path / "W"
    (folder / "more").mkdir(parents=True)
    a_video(folder / "one.mkv", 4, light=(1,))
    a_video(folder / "more" / "one.mkv", 4, beeps=(3,))
    (folder / "bad.mp4").write_text("no video at all\n")
    (folder / "notes.txt").write_text("not a video, and not said to be one")
    odd = a_video(tmp_path / "a\nb.mkv", 4, beeps=(0,))
    named = [str(folder), odd, str(tmp_path / "none.mp4"), str(tmp_path / "W" / "..")]
    assert run(get_config(), str(workdir), "parse", named[:3]) == 2
    out, err = capsys.readouterr()
    assert err.count("\n") == 2 and "bad.mp4" in err and "none.mp4" in err
    assert "3 of 5 videos" in out and "seen   light" in out
    files = sorted(os.listdir(workdir / "parses"))
    endings = (".json", ".labels.txt", ".npz", ".png", ".vtt")
    expected = [f"{name}{ending}" for name in ("a b", "one", "one-2") for ending in endings]
    assert files == sorted([*expected, "events_audio.csv", "events_visual.csv", "report.html"])
    rows = list(csv.reader((workdir / "parses/events_audio.csv").open(), delimiter="\t"))
    assert rows[1:] == [["one", "3", "4", "beep"], ["a b", "0", "1", "beep"]]
    record = json.loads((workdir / "parses" / "one.json").read_text())
    assert record["path"] == str(folder / "more" / "one.mkv") and record["fidelity"] == "direct"
    assert record["video_filter"] == "global"
    page = (workdir / "parses" / "report.html").read_text()
    assert '"sources":["../../videos/more/one.mkv","file:///' in page
    assert videos_in_page(workdir / "parses") == ["one", "one-2", "a b"]


def test_a_name_too_long_for_endings_costs_that_video_alone(tmp_path, small_parser, capsys):
    names = ["a" * 251, "\u00e9" * 125, "\udcff" * 40, "a" * 220]
    videos = [str(tmp_path / f"{name}.avi") for name in names]
    source = a_video(tmp_path / "x.mkv", 4, beeps=(0,))
    for video in videos:
        os.link(source, video)
    assert run(get_config(), str(tmp_path / "W"), "parse", videos) == 2
    out, err = capsys.readouterr()
    assert err.count("\n") == err.count("has a name of more than 220 bytes; shorten it\n") == 3
    assert "1 of 4 videos" in out and (tmp_path / f"W/parses/{names[-1]}.labels.txt").exists()


@pytest.mark.parametrize("target", [None, "gone", "parses"])
def test_no_folder_in_the_place_of_parses_is_said_in_a_line(target, tmp_path, small_parser):
    place = tmp_path / "W/parses"
    place.parent.mkdir()
    place.symlink_to(target) if target else place.write_text("mine")
    with pytest.raises(UserError, match="make room or mend the rights there"):
        run(get_config(), str(tmp_path / "W"), "parse", [a_video(tmp_path / "x.mkv", 4)])


def test_a_video_that_is_named_twice_is_parsed_once(tmp_path, small_parser, capsys):
    video = a_video(tmp_path / "videos.mkv", 4, beeps=(0,))
    (tmp_path / "videos").mkdir()
    inside = a_video(tmp_path / "videos" / "x.mkv", 4, beeps=(0,))
    named = [
        video,
        str(tmp_path / "videos"),
        inside,
        os.path.join(str(tmp_path), ".", "videos.mkv"),
    ]
    assert run(get_config(), str(tmp_path / "W"), "parse", named) == 0
    assert "2 of 2 videos" in capsys.readouterr().out


def test_a_later_call_keeps_the_events_of_an_earlier_one(tmp_path, small_parser):
    first = a_video(tmp_path / "first.mkv", 4, beeps=(0,))
    second = a_video(tmp_path / "second.mkv", 4, beeps=(1,))
    for videos in ([first], [second], [second]):
        assert run(get_config(), str(tmp_path / "W"), "parse", videos) == 0
    rows = (tmp_path / "W/parses/events_audio.csv").read_text().splitlines()[1:]
    assert rows == ["first\t0\t1\tbeep", "second\t1\t2\tbeep"]
    assert videos_in_page(tmp_path / "W/parses") == ["second", "first"]


def test_events_of_a_video_are_in_the_tables_before_the_next_one_is_parsed(tmp_path, monkeypatch):
    """A signal ends the process at once, wherever it is; where it can, the page is written."""
    videos = [a_video(tmp_path / f"{name}.mkv", 4, beeps=(0,)) for name in ("one", "two")]
    table, before = tmp_path / "W/parses/events_audio.csv", []

    class Watched(Ears):
        def predict(self, *args):
            before.append(table.read_text().splitlines()[1:])
            if len(before) == 2:
                raise KeyboardInterrupt
            return super().predict(*args)

    parser = a_parser(ears=Watched())
    monkeypatch.setattr(mode, "video_parser", lambda config, workdir: parser)
    config = get_config()
    config.report.embed_media = True
    with pytest.raises(KeyboardInterrupt):
        run(config, str(tmp_path / "W"), "parse", videos)
    assert before == [[], ["one\t0\t1\tbeep"]]
    assert videos_in_page(tmp_path / "W/parses") == ["one"]
    assert 'id="media-0"' in (tmp_path / "W/parses/report.html").read_text()


@pytest.mark.parametrize("content", [b"mine\n", b"", b"\xff\xfe", b"filename,onset\nx,1\n", None])
def test_a_table_of_somebody_else_is_not_replaced(content, tmp_path, small_parser):
    table = tmp_path / "W/parses/events_visual.csv"
    table.parent.mkdir(parents=True)
    table.mkdir() if content is None else table.write_bytes(content)
    with pytest.raises(UserError, match="move it away"):
        run(get_config(), str(tmp_path / "W"), "parse", [a_video(tmp_path / "x.mkv", 4)])
    assert table.is_dir() if content is None else table.read_bytes() == content
    assert not (tmp_path / "W/parses/x.json").exists()


@pytest.mark.parametrize(
    "videos, said",
    [([], "needs videos"), (["W"], "holds no video"), (["gone.mp4"], "gone.mp4")],
)
def test_without_a_video_there_is_nothing_to_parse(videos, said, tmp_path, small_parser, capsys):
    (tmp_path / "W").mkdir()
    named = [str(tmp_path / video) for video in videos]
    try:
        assert run(get_config(), str(tmp_path / "W"), "parse", named) == 2
        message = capsys.readouterr().err
    except UserError as error:
        message = str(error)
    assert said in message
