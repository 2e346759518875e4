"""Tokens of prompts: which numbers the text towers get, from vocabularies in both forms."""

import importlib
import json

import numpy as np
import pytest

from avvp_jax.encoders.teachers import TEACHERS
from avvp_jax.encoders.tokens import tokenised
from avvp_jax.errors import UserError
from tests.encoders import vocabularies

FORMS = [vocabularies.in_one_file, vocabularies.in_two_files]
# Between "A photo of" and ".", by class: what OpenAI's vocabulary makes of VALOR's prompts.
SIGHTS = """1047 2578 | 320 1615 | 1047 14289 | 320 1929 | 320 2368 | 38516 1559 | 1047 1629 3835
    | 320 1769 11321 | 320 37617 | 320 23013 | 320 27014 | 1047 5864 | 320 3717 541 320 30926
    | 320 17058 | 320 3125 27119 15619 | 320 8301 1794 | 550 48760 | 320 31675 30895 | 320 10297
    | 320 11956 | 320 10616 3759 528 | 320 26035 17243 | 320 6828 1794 | 320 25066
    | 3500 940 1682"""
END = 49407


def test_clip_reads_the_prompts_of_llp_without_a_vocabulary():
    ids, mask = tokenised("clip", TEACHERS["visual"].prompts, None, "")
    assert ids.shape == mask.shape == (25, 11) and ids.dtype == mask.dtype == np.int32
    for row, on, sight in zip(ids, mask, SIGHTS.split("|"), strict=True):
        expected = [49406, 320, 1125, 539, *map(int, sight.split()), 269, END]
        assert list(row) == expected + [END] * (11 - len(expected))
        assert list(on) == [1] * len(expected) + [0] * (11 - len(expected))


def test_some_of_them_are_padded_to_the_longest_of_these():
    prompts = [TEACHERS["visual"].prompts[k] for k in (3, 0)]
    ids, mask = tokenised("clip", prompts, None, "")
    assert ids.tolist() == [
        [49406, 320, 1125, 539, 320, 1929, 269, END],
        [49406, 320, 1125, 539, 1047, 2578, 269, END],
    ]
    assert mask.all()


# By prompt: its tokens.
CLIP = {
    "car": "car</w>",
    " A  CAR\tof\n": "a</w> car</w> of</w>",
    "cars": "ca r s</w>",
    "dog's": "dog</w> ' s</w>",  # the vocabulary has no merge for it: two tokens of one word
    "Dogs, 12.": "do g s</w> ,</w> 1</w> 2</w> .</w>",
    "fog!!": "f og</w> !!</w>",
    "x-12y": "x</w> -</w> 1</w> 2</w> y</w>",
}
CLAP = {
    "car": "car",
    "a car": "a Ġcar",
    "A Car": "A Ġ C a r",
    "car  dog": "car Ġ Ġ dog",
    " a": "Ġa",
    "12 dogs": "12 Ġ dog s",
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("stream, told", [("clip", CLIP), ("clap", CLAP)])
def test_words_become_tokens_by_the_vocabulary_in_either_form(stream, told, form, tmp_path):
    ids_of = vocabularies.words(stream)
    start, *padding, end = (ids_of[x] for x in vocabularies.SPECIAL[stream])
    ids, mask = tokenised(stream, list(told), form(tmp_path, stream), "")
    longest = max(len(tokens.split()) for tokens in told.values()) + 2
    assert ids.shape == mask.shape == (len(told), 77 if stream == "clap" else longest)
    for row, on, tokens in zip(ids, mask, told.values(), strict=True):
        expected = [start, *(ids_of[x] for x in tokens.split()), end]
        rest = ids.shape[1] - len(expected)
        assert list(row) == expected + [(padding or [end])[0]] * rest
        assert list(on) == [1] * len(expected) + [0] * rest


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("stream", ["clip", "clap"])
def test_prompts_as_long_as_the_towers_take_are_read_and_others_refused(stream, form, tmp_path):
    vocabulary = form(tmp_path, stream)
    of_76, nothing = ("x " * 75 + "y", "\n \t") if stream == "clip" else ("x" * 76, "")
    ids, mask = tokenised(stream, [of_76.removeprefix("x").strip()], vocabulary, "")
    assert ids.shape == (1, 77) and mask.sum() == 77
    for wrong in [[of_76], ["car", nothing]]:
        with pytest.raises(UserError, match=f"{stream} takes 1 to 75$") as told:
            tokenised(stream, wrong, vocabulary, "")
        assert "\n" not in str(told.value) and len(str(told.value)) < 200


def test_a_vocabulary_is_asked_for_where_words_need_one():
    for stream, prompts in [
        ("clip", ["A photo of a dog."[:-1]]),
        ("clip", [*TEACHERS["visual"].prompts, "A photo of a Dog."]),
        ("clap", TEACHERS["audio"].prompts),
    ]:
        with pytest.raises(UserError, match="^where it lies$"):
            tokenised(stream, prompts, None, "where it lies")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("stream, of", [("clip", "clap"), ("clap", "clip")])
def test_the_vocabulary_of_another_network_is_refused(stream, of, form, tmp_path):
    vocabulary = form(tmp_path, of)
    with pytest.raises(UserError, match="has no token <.*belongs to the weights") as told:
        tokenised(stream, ["car"], vocabulary, "")
    assert str(told.value).startswith(vocabulary[0])


BROKEN = {
    "empty": b"",
    "cut off": b'{"version": "1.0", "model": {"type": "BPE", "vo',
    "a list": b"[1, 2]",
    "other JSON": b'{"a": {"b": 1}}',
    "a web page": b"<!DOCTYPE html><html><body>Sign in</body></html>",
    "a pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
    "bytes": bytes(range(256)) * 9,
    "deep": b"[" * 100_000,
    "wide numbers": b'{"<|startoftext|>": -1, "<|endoftext|>": 99999999999999999999}',
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=list(BROKEN))
@pytest.mark.parametrize("name", ["tokenizer.json", "vocab.json", "merges.txt"])
@pytest.mark.parametrize("stream", ["clip", "clap"])
def test_a_damaged_vocabulary_is_named(stream, name, content, tmp_path):
    form = vocabularies.in_one_file if name == "tokenizer.json" else vocabularies.in_two_files
    vocabulary = form(tmp_path, stream)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as told:
        tokenised(stream, ["car"], vocabulary, "")
    said = str(told.value)
    assert str(tmp_path) in said and "\n" not in said
    assert "get it anew" in said or "belongs to the weights" in said


@pytest.mark.parametrize("odd", ["folder", "gone", "dead link", "huge"])
@pytest.mark.parametrize("name", ["tokenizer.json", "vocab.json", "merges.txt"])
def test_something_else_in_the_place_of_a_vocabulary_is_named(name, odd, tmp_path):
    form = vocabularies.in_one_file if name == "tokenizer.json" else vocabularies.in_two_files
    vocabulary, path = form(tmp_path, "clip"), tmp_path / name
    if odd == "huge":
        with path.open("r+b") as file:
            file.truncate(1 << 40)
    else:
        path.unlink()
    if odd == "folder":
        path.mkdir()
    if odd == "dead link":
        path.symlink_to("nowhere")
    with pytest.raises(UserError, match="get it anew") as told:
        tokenised("clip", ["car"], vocabulary, "")
    assert str(told.value).startswith(f"{path}: ")


@pytest.mark.parametrize("form", FORMS)
def test_ids_that_no_network_has_are_refused(form, tmp_path):
    vocabulary = form(tmp_path, "clip")
    path = tmp_path / vocabulary[0]
    content = json.loads(path.read_text())
    ids = content["model"]["vocab"] if "model" in content else content
    ids["car</w>"] = (1 << 32) - 1
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="ids that no network has"):
        tokenised("clip", ["car"], vocabulary, "")


_MARKS = {"<|startoftext|>": 0, "<|endoftext|>": 1}
UNUSABLE = {  # the library reads the first ones and then raises; of the last ones it panics
    "words alone": {"model": {"type": "WordLevel", "vocab": _MARKS, "unk_token": "?"}},
    "no scores": {"model": {"type": "Unigram", "vocab": [[x, 0] for x in _MARKS], "unk_id": None}},
    "no characters": {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}},
    "no length": {"pre_tokenizer": {"type": "FixedLength", "length": 0}},
}


@pytest.mark.parametrize("part", UNUSABLE.values(), ids=list(UNUSABLE))
def test_a_vocabulary_that_the_library_cannot_use_is_named(part, tmp_path):
    (path,) = vocabularies.in_one_file(tmp_path, "clip")
    content = json.loads((tmp_path / path).read_text())
    (tmp_path / path).write_text(json.dumps(content | part))
    with pytest.raises(UserError, match="is no readable vocabulary .*get it anew") as told:
        tokenised("clip", ["car"], (path,), "")
    assert str(told.value).startswith(f"{path}: ")


def test_without_the_library_the_way_to_it_is_said(monkeypatch, tmp_path):
    vocabulary = vocabularies.in_one_file(tmp_path, "clip")

    def nothing(name, *more):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", nothing)
    with pytest.raises(UserError, match="pip install tokenizers"):
        tokenised("clip", ["car"], vocabulary, "")
    ids, _ = tokenised("clip", TEACHERS["visual"].prompts, None, "")  # needs none
    assert ids.shape == (25, 11)
