"""classes.csv: what is read of it, and what is refused."""

import math

import pytest

from avvp_jax.encoders.classes import AUTO, classes_text, read_classes, unknown_thresholds
from avvp_jax.encoders.teachers import TEACHERS, alternatives
from avvp_jax.errors import UserError
from avvp_jax.task import LLP


def read(tmp_path, content):
    path = tmp_path / "classes.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_classes(str(path))


def rows(tmp_path, content):
    """By class (name, visual prompt, audio prompt, visual threshold, audio threshold)."""
    names, teachers = read(tmp_path, content)
    visual, audio = teachers["visual"], teachers["audio"]
    assert (visual.name, audio.name) == ("CLIP", "CLAP")
    assert (visual.modality, audio.modality) == ("visual", "audio")
    parts = visual.prompts, audio.prompts, visual.thresholds, audio.thresholds
    return [tuple(AUTO if x != x else x for x in each) for each in zip(names, *parts, strict=True)]


def test_names_alone_are_enough(tmp_path):
    assert rows(tmp_path, "name\nBig_dog\nCello  player\n") == [
        ("Big_dog", "A photo of big dog.", "This is a sound of big dog", AUTO, AUTO),
        (
            "Cello  player",
            "A photo of cello player.",
            "This is a sound of cello player",
            AUTO,
            AUTO,
        ),
    ]


FULL = [("Dog", "A dog | two dogs", "barking, a dog", 20.5, -1), ("Cat", "cat", "cat", 3, AUTO)]
WRITTEN = {
    "commas": "name,visual_prompt,audio_prompt,visual_threshold,audio_threshold\n"
    'Dog,A dog | two dogs,"barking, a dog",20.5,-1\nCat,cat,cat,3,auto\n',
    "tabs": "name\tvisual_prompt\taudio_prompt\tvisual_threshold\taudio_threshold\n"
    "Dog\tA dog | two dogs\tbarking, a dog\t20.5\t-1\nCat\tcat\tcat\t3\tAUTO\n",
    "spaces": "\n  \n name , visual_prompt ,audio_prompt, visual_threshold,audio_threshold \n\n"
    ' Dog , A dog | two dogs ,"barking, a dog",2.05e1,-1.0\n,,,,\nCat,cat,cat,+3, Auto \n',
    "another order": "audio_threshold,name,audio_prompt,visual_threshold,visual_prompt\n"
    '-1,Dog,"barking, a dog",20.5,A dog | two dogs\n,Cat,cat,3,cat\n',
    "short rows": "name,visual_threshold,visual_prompt,audio_prompt,audio_threshold\n"
    'Dog,20.5,A dog | two dogs,"barking, a dog",-1\nCat,3,cat,cat\n',
}
WRITTEN["a byte-order mark"] = "\ufeff" + WRITTEN["commas"]
WRITTEN["semicolons"] = WRITTEN["tabs"].replace("\t", ";")
WRITTEN["what separates"] = "sep=;\r\n" + WRITTEN["semicolons"]
WRITTEN["UTF-16"] = WRITTEN["tabs"].encode("utf-16")
WRITTEN["carriage returns"] = WRITTEN["commas"].replace("\n", "\r\n")


@pytest.mark.parametrize("content", WRITTEN.values(), ids=list(WRITTEN))
def test_columns_are_read_however_they_are_written(content, tmp_path):
    assert rows(tmp_path, content) == FULL


def test_a_part_of_the_columns_leaves_the_others_to_their_defaults(tmp_path):
    assert rows(tmp_path, "name,audio_threshold\nDog,2\nCat,\n") == [
        ("Dog", "A photo of dog.", "This is a sound of dog", AUTO, 2),
        ("Cat", "A photo of cat.", "This is a sound of cat", AUTO, AUTO),
    ]
    assert alternatives("A dog | two dogs|dogs ") == ["A dog", "two dogs", "dogs"]


def test_it_says_which_thresholds_are_not_known(tmp_path):
    content = "name,visual_threshold,audio_threshold\nA,1,\nB,1,1\nC,auto,auto\n"
    assert unknown_thresholds(*read(tmp_path, content)) == ["A", "C"]


NAMES = [
    "<b>x</b> & y",
    "\u05d0\u05d1\u05d2",
    'so "called"',
    "it's",
    "a,b",
    "=1+1",
    "\u72ac \U0001f436",
]


def test_odd_names_are_names_and_survive_being_written(tmp_path):
    content = "name,visual_prompt,audio_prompt,visual_threshold,audio_threshold\n"
    content += "".join('"{}",p,q,1.5,2\n'.format(x.replace('"', '""')) for x in NAMES)
    names, teachers = read(tmp_path, content)
    assert list(names) == NAMES
    again = read(tmp_path, classes_text(names, teachers))
    assert again == (names, teachers)


@pytest.mark.parametrize("content", WRITTEN.values(), ids=list(WRITTEN))
def test_what_is_written_reads_as_the_same(content, tmp_path):
    names, teachers = read(tmp_path, content)
    text = classes_text(names, teachers)
    assert rows(tmp_path, text) == FULL
    assert classes_text(*read(tmp_path, text)) == text


def test_the_teachers_of_llp_can_be_written_and_read(tmp_path):
    names, teachers = read(tmp_path, classes_text(LLP.classes, TEACHERS))
    assert names == LLP.classes and teachers == TEACHERS
    thresholds = tuple(x / 3 for x in range(25))
    found = {m: type(x)(x.name, m, x.prompts, thresholds) for m, x in TEACHERS.items()}
    _, teachers = read(tmp_path, classes_text(LLP.classes, found))
    assert teachers["audio"].thresholds == pytest.approx(thresholds, rel=1e-8)


HEAD = "name,visual_prompt,audio_prompt,visual_threshold,audio_threshold\n"
REFUSED = {
    "nothing": (b"", "is empty"),
    "no rows": (HEAD, "names no class"),
    "blank": ("\n \n\t\n", "has the columns nothing; give a header"),
    "no header": ("Dog\nCat\n", "has the columns Dog; give a header"),
    "another column": ("name,color\nDog,red\n", "has the columns name, color; give a header"),
    "a column twice": ("name,name\nDog,Cat\n", "has the columns name, name; give"),
    "capitals": ("Name\nDog\n", "has the columns Name; give"),
    "bars": ("name|visual_threshold\nDog|1\n", "columns name.visual_threshold; give"),
    "too many cells": ("name,visual_prompt\nDog,a dog, a big one\n", "row 2 has 3 cells.*quotes"),
    "no name": ("name,visual_threshold\n,1\n", "no names of classes: ''"),
    "line in a name": ('name\n"a\nb"\n', "no names of classes: 'a.nb'"),
    "escape in a name": ("name\na\x1b[31m\n", r"no names of classes: 'a.x1b"),
    "zero in a name": ("name\na\0b\n", "csv|names of classes"),
    "right-to-left override": ("name\na\u202eb\n", r"no names of classes: 'a.u202e"),
    "a name twice": ("name\nDog\nCat\nDog\n", "names classes twice: Dog; leave one"),
    "quotes": ('name\n"Dog\n', "is no csv file.*give a header"),
    "Latin-1": ("name\nCaf\u00e9\n".encode("latin-1"), "is not UTF-8 text; save it as UTF-8"),
    "half of UTF-16": ("name\nDog\n".encode("utf-16")[:-1], "is not UTF-8 text"),
    "empty alternative": ("name,visual_prompt\nDog,a|\n", "Dog has the visual prompt 'a.'.*empty"),
    "only a bar": ("name,audio_prompt\nDog,|\n", "Dog has the audio prompt .|.,.*is empty"),
    "no word": ("name,audio_prompt\n_|,x\n", "_. has no word in it; give it a visual prompt"),
    "word": ("name,visual_threshold\nDog,high\n", "Dog has the visual threshold 'high'; give a"),
    "nan": ("name,audio_threshold\nDog,nan\n", "Dog has the audio threshold 'nan'; give a number"),
    "inf": ("name,audio_threshold\nDog,-inf\n", "Dog has the audio threshold '-inf'"),
    "huge": ("name,audio_threshold\nDog,1e999\n", "Dog has the audio threshold '1e999'"),
    "comma": ('name,audio_threshold\nDog,"1,5"\n', "Dog has the audio threshold '1,5'"),
    "wide": ("name\n" + "a" * 200_000 + "\n", "is no csv file .field larger"),
    "long": ("name\n" + "Dog\n" * (1 << 19), "too many"),
    "pointer": ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "pointer"),
}  # fmt: skip


@pytest.mark.parametrize("content, says", REFUSED.values(), ids=list(REFUSED))
def test_something_else_is_refused_in_a_line(content, says, tmp_path):
    with pytest.raises(UserError, match=says) as told:
        read(tmp_path, content)
    said = str(told.value)
    assert said.startswith(f"{tmp_path}/classes.csv: ") and "\n" not in said and len(said) < 500


def test_a_bar_in_a_name_does_not_part_its_prompts(tmp_path):
    names, teachers = read(tmp_path, "name\nDog|Cat\n")
    assert names == ("Dog|Cat",) and teachers["visual"].prompts == ("A photo of dog cat.",)


@pytest.mark.parametrize("odd", ["gone", "folder", "dead link"])
def test_something_else_in_its_place_is_named(odd, tmp_path):
    path = tmp_path / "classes.csv"
    if odd == "folder":
        path.mkdir()
    if odd == "dead link":
        path.symlink_to("nowhere")
    with pytest.raises(UserError, match="it needs a list of classes") as told:
        read_classes(str(path))
    assert str(told.value).startswith(f"{path}: ")


def test_unknown_thresholds_are_nan_in_a_teacher(tmp_path):
    _, teachers = read(tmp_path, "name\nDog\n")
    assert all(math.isnan(x) for each in teachers.values() for x in each.thresholds)


@pytest.mark.parametrize("threshold", [0.1 + 0.2, 1e-300, 20.123456789012, -3.0, 39.70773315429687])
def test_a_threshold_comes_back_to_the_last_digit(tmp_path, threshold):
    names, teachers = read(tmp_path, f"name,visual_threshold\nCat,{threshold!r}")
    again = read(tmp_path, classes_text(names, teachers))
    assert again[1]["visual"].thresholds == (threshold,)
    assert math.isnan(again[1]["audio"].thresholds[0])
