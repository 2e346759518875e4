"""Embeddings of prompts: unit rows, averages of alternatives, and what does not fit."""

import json

import numpy as np
import pytest

from avvp_jax.encoders import prompts
from avvp_jax.encoders.clap_files import read_clap
from avvp_jax.encoders.clip_files import read_clip
from avvp_jax.encoders.prompts import Teaching, embedded
from avvp_jax.encoders.teachers import TEACHERS, segment_logits
from avvp_jax.errors import UserError
from tests.encoders import made_up_towers

TEXTS = ["A photo of bell.", "big dog", "train, a car", "A sound of a cat"]


@pytest.fixture(scope="module", params=["clip", "clap"])
def read(request, tmp_path_factory):
    """stream, its text tower, and a vocabulary."""
    clip, clap = made_up_towers.states()
    of_clip = request.param == "clip"
    tower = read_clip(clip, "clip").text if of_clip else read_clap(clap, "clap")[0].text
    path = tmp_path_factory.mktemp(request.param) / "tokenizer.json"
    path.write_text(json.dumps(made_up_towers.vocabulary(of_clip)))
    return request.param, tower, (str(path),)


def of(read, *texts):
    stream, tower, vocabulary = read
    return embedded(stream, tower, texts, vocabulary, "")


def test_rows_are_units_and_each_prompt_has_its_own_whatever_is_beside_it(read):
    rows = of(read, *TEXTS)
    assert rows.dtype == np.float32 and len(rows) == len(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    for text, row in zip(TEXTS, rows, strict=True):
        np.testing.assert_allclose(of(read, text)[0], row, atol=2e-6)
    assert (rows @ rows.T - np.eye(len(rows)) < 0.999).all()  # they are not the same


def test_alternatives_are_averaged_as_unit_vectors(read):
    rows = of(read, *TEXTS)
    both, lone, three = of(read, f"{TEXTS[0]} | {TEXTS[1]}", TEXTS[2], "|".join(TEXTS[1:]))
    for found, some in ((both, rows[:2]), (three, rows[1:])):
        mean = some.astype(np.float64).mean(axis=0)
        np.testing.assert_allclose(found, mean / np.linalg.norm(mean), atol=3e-6)
    np.testing.assert_allclose(lone, rows[2], atol=2e-6)
    twice = of(read, TEXTS[0], f"{TEXTS[0]}|{TEXTS[0]}")
    np.testing.assert_allclose(twice[1], twice[0], atol=1e-6)


def test_a_lone_row_is_not_changed_by_a_bit():
    row = np.float32([0.6, 0.8000001])
    assert prompts._average([row]) is row


def test_more_prompts_than_are_encoded_at_once_are_all_encoded(read, monkeypatch):
    rows = of(read, *TEXTS)
    monkeypatch.setattr(prompts, "_AT_ONCE", 3)
    np.testing.assert_allclose(of(read, *TEXTS), rows, atol=2e-6)


def test_a_vocabulary_of_more_words_than_the_weights_have_is_refused(read):
    stream, tower, vocabulary = read
    words = tower.arguments[0] - 1  # the ids of ends are the largest
    fewer = tower._replace(arguments=(words, *tower.arguments[1:]))
    with pytest.raises(UserError, match=f"more tokens than the {words} of {stream}'s weights"):
        embedded(stream, fewer, ["car"], vocabulary, "")


def test_the_known_tokens_of_llp_need_a_whole_vocabulary_too(read):
    stream, tower, _ = read
    if stream == "clip":
        fewer = tower._replace(arguments=(1000, *tower.arguments[1:]))
        with pytest.raises(UserError, match="LLP's prompts: has more tokens than the 1000"):
            embedded("clip", fewer, TEACHERS["visual"].prompts, None, "")


def test_prompts_longer_than_the_positions_of_the_weights_are_refused(read):
    stream, tower, vocabulary = read
    words, _, *rest = tower.arguments
    room = {"clip": 7, "clap": 5}[stream]  # RoBERTa's positions count from two
    with pytest.raises(UserError, match=rf"tokens are too long for {stream}'s {room}$") as told:
        embedded(stream, tower._replace(arguments=(words, 7, *rest)), ["car " * 9], vocabulary, "")
    assert "\n" not in str(told.value)


def test_logits_are_the_scaled_cosines_of_rows_and_prompts():
    rng = np.random.default_rng(3)
    segments, rows = (rng.standard_normal((n, 6)).astype(np.float32) for n in (10, 4))
    logits = Teaching(TEACHERS["audio"], rows, 7.5).logits(segments)
    assert logits.shape == (10, 4) and logits.dtype == np.float32
    expected = [
        [7.5 * (a @ b) / np.linalg.norm(a) / np.linalg.norm(b) for b in rows] for a in segments
    ]
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)
    assert (logits == segment_logits(segments, rows, 7.5).astype(np.float32)).all()
