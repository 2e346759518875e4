"""What a decoder answers: it comes through as it is, and is not trusted."""

import json

import numpy as np
import pytest

from avvp_jax.media import messages
from avvp_jax.media.windows import Window


@pytest.mark.parametrize(
    "answer",
    [
        b"\xff\xff\xff\xff",
        (9).to_bytes(4, "big") + b"not json!",
        (2).to_bytes(4, "big") + b"[]",
        (2).to_bytes(4, "big") + b"{}",
        b"",
    ],
)
def test_what_a_decoder_answers_is_not_trusted(answer):
    with pytest.raises(messages.Garbled):
        messages.read(taker(answer))


def taker(content: bytes):
    left = bytearray(content)

    def take(size: int) -> bytearray:
        if size > len(left):
            raise messages.Garbled
        taken = left[:size]
        del left[:size]
        return taken

    return take


@pytest.mark.parametrize(
    "kind,shape",
    [("object", [1]), ("uint8", [1 << 40]), ("uint8", [-1]), ("uint8", [2.5]), ("uint8", [1] * 9),
     ("float64", [1]), ("uint8", [True])],
)  # fmt: skip
def test_arrays_that_a_decoder_may_not_send(kind, shape):
    head = {
        "start": 0,
        "seconds": 1,
        "missing": [],
        "found": [0, 0],
        "arrays": [["x", kind, shape]],
    }
    text = json.dumps(head).encode()
    with pytest.raises(messages.Garbled):
        messages.read(taker(len(text).to_bytes(4, "big") + text + bytes(8)))


def test_a_window_comes_through_as_it_is(tmp_path):
    pictures = {"a": np.arange(24, dtype=np.uint8).reshape(1, 2, 4, 3)}
    pictures["sound"] = np.linspace(0, 1, 12, dtype=np.float32).reshape(1, 2, 2, 3)
    sounds = np.arange(6, dtype=np.int16).reshape(3, 2), np.linspace(-1, 1, 9, dtype=np.float32)
    sent = Window(1.5, 10.0, pictures, sounds[0], ("x", "y"), (9.5, 0), sounds[1])
    with (tmp_path / "x").open("wb") as file:
        messages.write(file, sent)
    got = messages.read(taker((tmp_path / "x").read_bytes()))
    assert (got.start, got.seconds, got.missing) == (1.5, 10.0, ("x", "y"))
    assert list(got.pictures) == list(pictures)
    arrays = [(got.pictures[view], pictures[view]) for view in pictures]
    for ours, theirs in (*arrays, (got.sound, sent.sound), (got.sound_48k, sent.sound_48k)):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype
