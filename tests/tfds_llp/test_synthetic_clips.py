"""Synthetic clips: functions of their numbers, and what is drawn and heard is what labels say."""

import hashlib

import numpy as np
import pytest

from avvp_jax.encoders import plain
from avvp_jax.media.windows import Wanted, windows
from avvp_jax.task import MODALITIES, SYNTHETIC_VIDEOS
from tfds_llp.synthetic_clips import SPLITS, Clip
from tfds_llp.synthetic_looks import FRAMES, HEIGHT, WIDTH, Film
from tfds_llp.synthetic_scenes import HEARD, SEEN, draw_scenes
from tfds_llp.synthetic_sounds import RATE, Soundtrack

CLASSES = SYNTHETIC_VIDEOS.classes
WANTED = Wanted(SYNTHETIC_VIDEOS, views=(plain.VIEW,))


def only(index: int) -> np.ndarray:
    """Three seconds, with one class in the second of them."""
    labels = np.zeros((3, len(CLASSES)), bool)
    labels[1, index] = True
    return labels


def parts(kind, labels: np.ndarray, seed: int = 0) -> list[np.ndarray]:
    made = kind(np.random.default_rng(seed), labels)
    return [made.second(number).astype(np.float32) for number in range(len(labels))]


@pytest.fixture(scope="module")
def filmed(tmp_path_factory):
    """A clip with events in both modalities, its file, and the window that is read of it."""
    clip = next(
        clip
        for clip in (Clip(0, "train", index) for index in range(100))
        if clip.audio_label.sum() and clip.visual_label.sum() and not clip.weak_label.all()
    )
    path = tmp_path_factory.mktemp("filmed") / "clip.mp4"
    clip.film(path)
    (window,) = windows(path, WANTED)
    return clip, path, window


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.default_rng(0)
    scenes = [draw_scenes(rng, SYNTHETIC_VIDEOS.segments) for _ in range(2000)]
    return {name: np.stack([scene[name] for scene in scenes]) for name in MODALITIES}


@pytest.mark.parametrize("index", range(len(CLASSES)), ids=CLASSES)
def test_a_class_is_seen_in_its_seconds_alone(index):
    shown, empty = parts(Film, only(index)), parts(Film, np.zeros_like(only(index)))
    assert shown[0].shape == (FRAMES, HEIGHT, WIDTH, 3)
    for second in (0, 2):
        np.testing.assert_array_equal(shown[second], empty[second])
    changed = np.abs(shown[1] - empty[1]).max(axis=-1) > 40
    assert (changed.mean(axis=(1, 2)) > 0.01).all()  # in each frame


@pytest.mark.parametrize("index", range(len(CLASSES)), ids=CLASSES)
def test_a_class_is_heard_in_its_seconds_alone(index):
    heard, empty = parts(Soundtrack, only(index)), parts(Soundtrack, np.zeros_like(only(index)))
    assert heard[0].shape == (RATE,)
    for second in (0, 2):
        np.testing.assert_array_equal(heard[second], empty[second])
    assert np.std(heard[1] - empty[1]) > np.std(empty[1])


def test_classes_look_and_sound_different():
    looks = plain.frames
    pictures = [parts(Film, only(index))[1][::8, 4:116, 24:136] for index in range(len(CLASSES))]
    found = np.stack([looks(each.astype(np.uint8)).mean(axis=0) for each in pictures])
    apart = np.linalg.norm(found[:, None] - found, axis=-1)[~np.eye(len(CLASSES), dtype=bool)]
    assert apart.min() > 0.5
    sounds = np.stack([parts(Soundtrack, only(index))[1] for index in range(len(CLASSES))])
    spectra = np.abs(np.fft.rfft(sounds)).reshape(len(CLASSES), -1)[:, :8000]
    spectra = spectra.reshape(len(CLASSES), 80, 100).mean(axis=2)
    spectra /= np.linalg.norm(spectra, axis=1, keepdims=True)
    assert (spectra @ spectra.T)[~np.eye(len(CLASSES), dtype=bool)].max() < 0.97


def test_videos_of_a_class_differ():
    for kind in (Film, Soundtrack):
        one, other = (parts(kind, only(3), seed)[1] for seed in (0, 1))
        assert np.abs(one - other).mean() > 1e-3


def test_the_file_shows_what_was_drawn(filmed):
    clip, _, window = filmed
    film = Film(clip._numbers(2), clip.visual_label.astype(bool))
    pictures = np.concatenate([film.second(second)[1::2] for second in range(10)])
    seen = window.pictures[plain.VIEW].astype(np.float32)
    assert not window.missing and len(seen) == 80
    colours = pictures.mean(axis=(1, 2)) - seen.mean(axis=(1, 2))
    assert np.abs(colours).max() < 4
    # What moves does so at the same time.
    drawn, read = (
        np.abs(np.diff(x.astype(np.float32), axis=0)).mean((1, 2, 3)) for x in (pictures, seen)
    )
    if drawn.std() > 1:
        assert np.corrcoef(drawn, read)[0, 1] > 0.8


def test_the_file_sounds_as_was_made(filmed):
    clip, _, window = filmed
    track = Soundtrack(clip._numbers(3), clip.audio_label.astype(bool))
    made = np.concatenate([track.second(second) for second in range(10)])
    assert window.sound.shape == made.shape
    loud, again = (np.sqrt((x.reshape(100, -1) ** 2).mean(1)) for x in (made, window.sound))
    assert np.corrcoef(loud, again)[0, 1] > 0.95
    assert np.corrcoef(made, window.sound)[0, 1] > 0.8  # to the sample


def test_equal_numbers_give_equal_bytes_and_others_do_not(filmed, tmp_path):
    clip, path, _ = filmed
    again = Clip(clip.seed, clip.split, clip.index)
    again.film(tmp_path / "again.mp4")
    assert (tmp_path / "again.mp4").read_bytes() == path.read_bytes()
    assert again.id == clip.id and (again.audio_label == clip.audio_label).all()
    others = (Clip(1, clip.split, clip.index), Clip(0, "val", clip.index), Clip(0, clip.split, 101))
    seen = {hashlib.sha256(path.read_bytes()).digest()}
    for other in others:
        other.film(tmp_path / f"{other.id}.mp4")
        seen.add(hashlib.sha256((tmp_path / f"{other.id}.mp4").read_bytes()).digest())
    assert len(seen) == 4


def test_ids_differ():
    ids = [Clip(0, split, index).id for split in SPLITS for index in range(200)]
    assert len(set(ids)) == len(ids) and all(len(each) == 11 for each in ids)


def test_weak_labels_are_the_union_and_teachers_keep_to_them():
    for index in range(20):
        clip = Clip(3, "train", index)
        either = clip.audio_label.any(0) | clip.visual_label.any(0)
        assert (clip.weak_label == either).all() and either.any()
        for pseudo in (clip.audio_pseudo_label, clip.visual_pseudo_label):
            assert not pseudo[:, clip.weak_label == 0].any()


def test_some_are_only_heard_and_some_only_seen(drawn):
    heard, seen = (drawn[name].any(axis=1) for name in MODALITIES)
    events = (heard | seen).sum()
    assert (heard & ~seen).sum() / events == pytest.approx(HEARD, abs=0.02)
    assert (seen & ~heard).sum() / events == pytest.approx(SEEN, abs=0.02)
    number = (heard | seen).sum(axis=1)
    assert set(number) == {1, 2, 3}
    assert (heard | seen).mean(axis=0).std() < 0.02  # all classes are as frequent


@pytest.mark.parametrize("seconds", [1, 2, 9, 10, 11, 35, 61])
def test_a_video_of_any_length_has_events(seconds):
    clip = Clip(0, "new", 0, seconds)
    assert clip.audio_label.shape == clip.visual_label.shape == (seconds, len(CLASSES))
    assert clip.weak_label.any()
