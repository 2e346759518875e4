"""LEAP's label embeddings: files of all kinds, by the names of classes, and what is refused."""

import collections
import pickle
import re
import warnings

import numpy as np
import pytest
import torch

import avvp_jax
from avvp_jax.errors import UserError
from avvp_jax.methods.leap.label_embeddings import label_embeddings, made_up, words_of
from avvp_jax.task import LLP, Task

WIDTH = 4
TASK = Task("Home", ("Frying_(food)", "Baby_cry_infant_cry", "doorBell", "Hand-saw, old"), 3, 1)
WORDS = ["frying", "food", "baby", "cry", "infant", "door", "bell", "hand", "saw", "old"]
VECTORS = {word: np.arange(WIDTH) + 10.0 * place for place, word in enumerate(WORDS)}


def read(path, task: Task = TASK, width: int = WIDTH) -> np.ndarray:
    return label_embeddings({"label_embeddings": str(path)}, task, (len(task.classes), width))


def write_glove(path, vectors=VECTORS):
    lines = [" ".join([word, *(f"{x:.5f}" for x in vector)]) for word, vector in vectors.items()]
    path.write_text("\n".join(["the 1 2 3 4", *lines, "\u00fc 1 2 3 4"]), "utf-8")
    return path


NAMES = {
    "Speech": ["speech"],
    "Frying_(food)": ["frying", "food"],
    "Baby_cry_infant_cry": ["baby", "cry", "infant", "cry"],
    "Chicken_rooster": ["chicken", "rooster"],
    "lawnMower": ["lawn", "mower"],
    "Hand-saw, old": ["hand", "saw", "old"],
    "\u00c4rger 2": ["\u00e4rger", "2"],
    "A\u0308rger": ["\u00e4rger"],  # the same letter, as some systems store it
    "_()": [],
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_split_into_words(name):
    assert words_of(name) == NAMES[name]


def test_a_class_has_the_mean_of_its_words_vectors(tmp_path):
    found = read(write_glove(tmp_path / "glove.6B.4d.txt"))
    assert found.dtype == np.float32
    of = VECTORS
    np.testing.assert_allclose(found[0], (of["frying"] + of["food"]) / 2)
    np.testing.assert_allclose(found[1], (of["baby"] + 2 * of["cry"] + of["infant"]) / 4)
    np.testing.assert_allclose(found[2], (of["door"] + of["bell"]) / 2)


KINDS = {
    "tensors": lambda x: {f"Class {i}": torch.from_numpy(row) for i, row in enumerate(x)},
    "rows of one": lambda x: {f"Class {i}": torch.from_numpy(row)[None] for i, row in enumerate(x)},
    "parameters": lambda x: {
        f"Class {i}": torch.nn.Parameter(torch.from_numpy(row)) for i, row in enumerate(x)
    },
    "arrays": lambda x: {f"Class {i}": row for i, row in enumerate(x)},
    "doubles": lambda x: {f"Class {i}": torch.from_numpy(row).double() for i, row in enumerate(x)},
}


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_published_file_is_read_in_its_own_order(tmp_path, kind, old):
    wanted = made_up(LLP, 300)
    content = collections.OrderedDict(KINDS[kind](wanted))
    torch.save(content, tmp_path / "x.pt", _use_new_zipfile_serialization=not old)
    np.testing.assert_array_equal(read(tmp_path / "x.pt", LLP, 300), wanted)


ORDERS = {
    "reversed": lambda names: names[::-1],
    "exchanged": lambda names: [names[1], names[0], *names[2:]],
    "spelt otherwise": lambda names: [x.replace("_", " ").lower() for x in (*names[1:], names[0])],
    "one twice": lambda names: [*names[:-1], f"{names[0]} "],
}


@pytest.mark.parametrize("order", ORDERS)
def test_vectors_of_classes_in_another_order_are_refused(tmp_path, order):
    names = ORDERS[order](list(LLP.classes))
    torch.save({name: torch.ones(300) for name in names}, tmp_path / "x.pt")
    with pytest.raises(UserError, match=r"x.pt: has .* where the classes have .* in that order"):
        read(tmp_path / "x.pt", LLP, 300)


def test_names_may_be_spelt_otherwise_as_in_the_published_file(tmp_path):
    spelt = {"Frying_(food)": "Fry food", "Baby_cry_infant_cry": "Baby cry infancy cry"}
    names = [spelt.get(name, name.replace("_", " ")) for name in LLP.classes]
    torch.save({name: torch.ones(300) for name in names}, tmp_path / "x.pt")
    assert read(tmp_path / "x.pt", LLP, 300).shape == (25, 300)


def test_made_up_ones_depend_on_names_alone():
    one, other = made_up(LLP, 8), made_up(TASK, 8)
    np.testing.assert_array_equal(one[LLP.classes.index("Frying_(food)")], other[0])
    assert len(np.unique(one, axis=0)) == len(one)


def test_words_that_glove_lacks_are_named(tmp_path):
    few = {word: x for word, x in VECTORS.items() if word not in ("infant", "saw")}
    with pytest.raises(UserError) as told:
        read(write_glove(tmp_path / "g.txt", few))
    said = "g.txt: lacks infant, saw of the classes Baby_cry_infant_cry, Hand-saw, old; rename"
    assert said in str(told.value) and "\n" not in str(told.value)
    with pytest.raises(UserError, match=r"classes __ have no words"):
        read(write_glove(tmp_path / "g.txt"), Task("Odd", ("food", "__"), 3, 1))


@pytest.mark.parametrize("names", [("food", "Food"), ("old_saw", "x", "Saw, (old)")])
def test_classes_of_the_same_words_are_refused(tmp_path, names):
    """One embedding would ask for both."""
    write_glove(tmp_path / "g.txt", VECTORS | {"x": VECTORS["old"]})
    with pytest.raises(UserError, match=rf"classes {names[0]}, {re.escape(names[-1])} have the sa"):
        read(tmp_path / "g.txt", Task("Alike", names, 3, 1))
    near = Task("Near", ("Baby_cry", "Cry, baby, cry"), 3, 1)
    assert (np.diff(read(tmp_path / "g.txt", near), axis=0) != 0).any()


class Evil:
    def __reduce__(self):
        return print, ("run",)


def _saved(content):
    return lambda path: torch.save(content, path)


def _pickled(content, protocol):
    return lambda path: path.write_bytes(pickle.dumps(content, protocol))


def _cut(write, length):
    """The beginning of a file that `write` writes; of a negative length, all but its end."""

    def damage(path):
        write(path)
        path.write_bytes(path.read_bytes()[:length])

    return damage


def _older(content):
    return lambda path: torch.save(content, path, _use_new_zipfile_serialization=False)


def _claiming(path):
    """Vectors of 40 TB, all of whose numbers are one number."""
    vector = torch.zeros(1).as_strided((10**13,), (0,))
    torch.save({str(i): vector for i in range(4)}, path)


VECTOR_DICT = {str(i): torch.full((4,), float(i)) for i in range(4)}
ARRAY_DICT = {str(i): np.full(4, float(i)) for i in range(4)}
SAYS_MORE = "llp_label_glove_embeddings"
REFUSED = f"(refused|not a readable file).*{SAYS_MORE}"

DAMAGED = {
    "nothing": (lambda path: None, "cannot be read|no such"),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "a folder": (lambda path: path.mkdir(), "is a folder"),
    "another width": (lambda path: write_glove(path, {"food": [1.0, 2.0]}), "food has 2 numbers"),
    "words": (lambda path: path.write_text("food is good to eat"), "not GloVe's vectors of 4"),
    "infinite": (lambda path: path.write_text("food 1 2 inf 4"), "food has .* not finite"),
    "beyond float32": (lambda path: path.write_text("food 1 2 1e39 4"), "food has .* not finite"),
    "doubles beyond float32": (
        _saved({str(i): np.full(4, 1e300) for i in range(4)}),
        "not finite",
    ),
    "matrices": (_saved({str(i): torch.zeros(2, 2) for i in range(4)}), "not all .* are vectors"),
    "numbers": (_saved({str(i): 1.0 for i in range(4)}), "not all .* are vectors"),
    "binary": (lambda path: path.write_bytes(bytes(range(5, 250)) * 99), "not GloVe's"),
    "too few": (_saved({"a": torch.zeros(4)}), "holds 1 embeddings of 4 numbers.*takes 4 of 4"),
    "of two lengths": (_saved({"a": torch.zeros(4), "b": torch.zeros(3)}), "no embeddings"),
    "a list": (_saved([torch.zeros(4)] * 4), "no dict of vectors"),
    "no numbers": (_saved({str(i): torch.full((4,), np.nan) for i in range(4)}), "not finite"),
    "text": (_saved({str(i): "x" for i in range(4)}), "no embeddings"),
    "too many": (_saved(ARRAY_DICT | {"5": np.zeros(4)}), "holds 5 embeddings of 4 numbers"),
    "too wide": (_saved({str(i): torch.zeros(5) for i in range(4)}), "holds 4 embeddings of 5"),
    "terabytes": (_claiming, "holds 4 embeddings of 10000000000000 numbers"),
    "complex": (_saved({str(i): torch.zeros(4) * 1j for i in range(4)}), "no embeddings"),
    "nothing in it": (_saved({}), "no dict of vectors"),
    "code": (_pickled({"a": Evil()}, 2), REFUSED),
    "code by hand": (_pickled({"a": Evil()}, 0), f"no word of any class.*{SAYS_MORE}"),
    "code in a zip": (_saved({"a": Evil()}), REFUSED),
    "code in an older file": (_older({"a": Evil()}), REFUSED),
    "a pickle of arrays": (_pickled(ARRAY_DICT, 4), REFUSED),
    "a pickle of lists": (_pickled({"a": [1.0] * 4}, 2), REFUSED),
    "a pickle as text": (_pickled({"a": [1.0] * 4}, 0), f"no word of any class.*{SAYS_MORE}"),
    "an array": (lambda path: np.save(path.open("wb"), np.zeros((4, 4))), "no word of any class"),
    "arrays": (lambda path: np.savez(path.open("wb"), **ARRAY_DICT), REFUSED),
    "half a zip": (_cut(_saved(VECTOR_DICT), 700), REFUSED),
    "without its end": (_cut(_saved(VECTOR_DICT), -5), REFUSED),
    "half an older file": (_cut(_older(VECTOR_DICT), 300), REFUSED),
    "an older file without its end": (_cut(_older(VECTOR_DICT), -3), REFUSED),
    "cut": (lambda path: path.write_bytes(b"PK\3\4" + bytes(99)), "not a readable"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_what_holds_no_embeddings_is_refused(tmp_path, case, capsys):
    write, says = DAMAGED[case]
    write(tmp_path / "x")
    with pytest.raises(UserError, match=f"x: .*({says})") as told, warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # which NumPy would print beside the line
        read(tmp_path / "x")
    assert "\n" not in str(told.value) and capsys.readouterr().out == ""


def test_without_a_file_both_are_named(small_config, tmp_path):
    config = small_config("leap")
    config.leap.made_up_embeddings = False
    with pytest.raises(UserError, match=r"llp_label_glove_embeddings\.pt.*glove\.6B\.300d\.txt"):
        avvp_jax.modes.run(config, str(tmp_path / "W"), "train")
    assert not list((tmp_path / "W").iterdir())
