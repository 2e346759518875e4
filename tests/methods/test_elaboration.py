"""Teachers' labels: the rule by hand, the published prompts, the report on their quality."""

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avvp_jax.encoders.teachers import TEACHERS, elaborate, segment_logits
from avvp_jax.methods.valor.elaboration import teachers_table
from avvp_jax.task import LLP

# Of the texts and numbers that were compared with the published list, one by one.
CHECKSUMS = {"audio": 3929557275, "visual": 2880311656}


def test_a_label_needs_the_weak_label_and_more_than_the_threshold():
    logits = np.array([[2.0, 2.0, 2.0], [1.9, 2.1, 9.0]])
    labels = elaborate(logits, np.array([1, 1, 0]), [1.95, 2.0, 0.0])
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, [[1, 0, 0], [0, 1, 0]])


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 100))
def test_elaboration_equals_loops(seed, scale):
    rng = np.random.default_rng(seed)
    segments, prompts = rng.standard_normal((3, 4, 6)), rng.standard_normal((5, 6))
    weak, thresholds = rng.integers(0, 2, (3, 5)), rng.uniform(-scale, scale, 5).tolist()
    labels = elaborate(segment_logits(segments, prompts, scale), weak, thresholds)
    for video in range(3):
        for t in range(4):
            for c in range(5):
                a, b = segments[video, t], prompts[c]
                logit = scale * a @ b / np.sqrt((a @ a) * (b @ b))
                if abs(logit - thresholds[c]) > 1e-9:
                    assert labels[video, t, c] == (weak[video, c] and logit > thresholds[c])


def test_the_length_of_an_embedding_does_not_matter():
    rng = np.random.default_rng(0)
    segments, prompts = rng.standard_normal((10, 6)), rng.standard_normal((25, 6))
    logits = segment_logits(segments, prompts, 100.0)
    np.testing.assert_allclose(segment_logits(7 * segments, prompts / 3, 100.0), logits)
    assert np.isfinite(segment_logits(0 * segments, prompts, 100.0)).all()


@pytest.mark.parametrize("teacher", TEACHERS.values(), ids=lambda teacher: teacher.name)
def test_a_teacher_has_a_prompt_and_a_threshold_for_each_class(teacher):
    assert len(teacher.prompts) == len(set(teacher.prompts)) == len(teacher.thresholds) == 25
    for name in ("Banjo", "Accordion", "Helicopter", "Chainsaw", "Cello", "Blender"):
        assert teacher.prompts[LLP.classes.index(name)].rstrip(".").endswith(name.lower())


def test_prompts_and_thresholds_are_the_published_ones():
    """Misspelt as published; all of them by their checksums, some to read."""
    for teacher, checksum in CHECKSUMS.items():
        text = "\n".join((*TEACHERS[teacher].prompts, *map(str, TEACHERS[teacher].thresholds)))
        assert zlib.crc32(text.encode()) == checksum
    visual, audio = TEACHERS["visual"], TEACHERS["audio"]
    at = LLP.classes.index
    assert visual.prompts[at("Speech")] == "A photo of people talking."
    assert visual.prompts[at("Acoustic_guitar")] == "A photo of a acoustic guiter."
    assert visual.prompts[at("Vacuum_cleaner")] == "A photo of a vaccum cleaner."
    assert audio.prompts[at("Chicken_rooster")] == "This is a sound of chicken, rooster"
    assert audio.prompts[at("Frying_(food)")] == "This is a sound of frying (food)"
    assert sum(visual.thresholds) == 394
    assert sum(audio.thresholds) == 44
    assert visual.thresholds[at("Lawn_mower")] == 15
    assert visual.thresholds[at("Motorcycle")] == 15
    assert visual.thresholds[at("Helicopter")] == 16
    assert audio.thresholds[at("Frying_(food)")] == -2
    assert audio.thresholds[at("Acoustic_guitar")] == -1


def test_the_report_has_each_class_and_the_mean_over_videos():
    truth = np.zeros((2, 10, 2, 25), np.uint8)
    truth[0, :4, 0, 0] = 1
    pseudo = truth.copy()
    pseudo[0, 2:6, 0, 0] = 1  # hits 4 and is wrong twice: F = 8 / 10
    report = teachers_table(LLP.classes, {"val": (pseudo, truth)}).text()
    lines = {line.split("  ")[0]: line.split()[-2:] for line in report.splitlines()[1:]}
    assert report.splitlines()[0].split()[-4:] == ["val", "CLAP", "val", "CLIP"]
    assert lines["Speech"] == ["80.0", "-"]
    assert lines["Car"] == ["-", "-"]
    # The second video has neither sound nor sight and counts as 1.
    assert lines["mean over videos"] == ["90.0", "100.0"]
