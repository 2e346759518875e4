"""What is read of a folder of one's own."""

import re
import unicodedata

import numpy as np
import pytest

from avvp_jax.errors import UserError
from tests.tfds_llp.own.folders import NAMES, TRAIN, VAL, Folder
from tfds_llp.own.clips import Clip
from tfds_llp.own.reading import with_lengths


def labels_of(own, split="train"):
    """By clip, the names of its classes."""
    videos = own.splits[split]
    classes = np.array(own.task.classes)
    return {
        name: list(classes[row > 0])
        for name, row in zip(videos.ids, videos.weak_label, strict=True)
    }


def test_a_folder_is_read(folder):
    folder.put("val.csv", VAL).put("test.csv", "filename\tevent_labels\nlong.mp4\t\n")
    own = folder.read(segments=6, seconds=2.0)
    task = own.task
    assert (task.classes, task.segments, task.seconds) == (("Dog", "Cat", "Rain"), 6, 2.0)
    assert list(own.splits) == ["train", "val", "test"]
    assert labels_of(own)["c"] == ["Dog", "Cat"] and labels_of(own, "test") == {"long": []}
    assert own.splits["val"].ids == own.splits["val"].filenames == ["v1", "v2"]
    assert own.splits["train"].csv_row.tolist() == [0, 1, 2, 3, 4, 5]
    assert own.splits["train"].audio_label.shape == (6, 6, 3)
    assert own.splits["train"].dense is None and own.splits["val"].dense.tolist() == [False] * 2
    assert own.teachers["audio"].prompts[0] == "This is a sound of dog"
    assert any("nothing occurs: 1 (long)" in remark for remark in own.remarks)


WRITTEN = {
    "tabs": TRAIN.replace('"', "").replace("Dog,Cat", "Dog;Cat").replace(",", "\t").replace(
        "Dog;Cat", "Dog, Cat"),
    "semicolons": "filename;event_labels\na;Dog\nb;Cat\nc;Dog,Cat\nd;Rain\ne;Rain\nf;Dog\n",
    "quotes": '"filename","event_labels"\n"a","Dog"\n"b","Cat"\n"c","Dog,Cat"\n"d","Rain"\n'
              '"e","Rain"\n"f","Dog"\n',
    "a byte-order mark": "\ufeff" + TRAIN,
    "what separates": "sep=,\n" + TRAIN,
    "UTF-16": TRAIN.encode("utf-16"),
    "carriage returns": TRAIN.replace("\n", "\r\n") + "\r\n\r\n",
    "endings": TRAIN.replace("a,", "a.mp4,").replace("b,", "b.MKV,").replace("f,", "f.webm,"),
    "more columns": TRAIN.replace("\n", ",\n").replace("labels,", "labels,start,end"),
    "another order": "event_labels;filename;note\nDog;a;x\nCat;b;\nDog,Cat;c;y\nRain;d\nRain;e\n"
                     "Dog;f\n",
    "labels twice": TRAIN.replace("a,Dog", 'a,"Dog,Dog, "'),
}  # fmt: skip


@pytest.mark.parametrize("content", WRITTEN.values(), ids=list(WRITTEN))
def test_tables_are_read_however_they_are_written(content, folder):
    folder.put("val.csv", VAL).put("train.csv", content)
    read = labels_of(folder.read())
    assert read["c"] == ["Dog", "Cat"]
    assert read == labels_of(Folder(folder.root / "x").put("val.csv", VAL).read())


def test_classes_may_have_commas_and_quotes(folder):
    folder.put("classes.csv", 'name\nDog\nbarking\n"Dog, barking"\n"So ""called"""\n')
    rows = ["a\tDog, barking", "b\tbarking,Dog", "c\tDog,barking,Dog", 'd\tSo "called",Dog']
    rows.append('e\t"Dog,  barking,So ""called"""')
    folder.put("train.csv", "filename\tevent_labels\n" + "\n".join(rows))
    folder.put("val.csv", "filename,event_labels\nv1,Dog\n")
    assert labels_of(folder.read()) == {
        "a": ["Dog, barking"],
        "b": ["Dog", "barking"],
        "c": ["Dog", "Dog, barking"],
        "d": ["Dog", 'So "called"'],
        "e": ["Dog, barking", 'So "called"'],
    }


def test_a_name_with_times_is_a_clip_of_a_video_that_is_there(folder):
    table = "filename,event_labels,start,end\nlong_3_5.5,Dog,,\nlong,Cat,10,20\na_0_9,Dog,,\n"
    (folder.root / "videos/a_0_9.mp4").write_bytes(b"x")
    own = folder.put("train.csv", table + 'long.mp4,Dog,1.50,"4,25"\n').put("val.csv", VAL).read()
    assert [own.clips[name] for name in own.splits["train"].ids] == [
        Clip("long_3_5.5", "long", 3.0, 5.5),
        Clip("long_10_20", "long", 10.0, 20.0),
        Clip("a_0_9", "a_0_9", None, None),
        Clip("long_1.5_4.25", "long", 1.5, 4.25),
    ]


def test_without_videos_features_say_what_is_there(folder):
    for file in (folder.root / "videos").iterdir():
        file.unlink()
    (folder.root / "feats/vggish").mkdir(parents=True)
    for name in (*NAMES, "b_2_4"):
        (folder.root / f"feats/vggish/{name}.npy").write_bytes(b"x")
    table = "filename,event_labels\na_0_9,Dog\nb_2_4,Cat\n"
    clips = folder.put("train.csv", table).put("val.csv", VAL).read().clips
    assert clips["a_0_9"] == Clip("a_0_9", "a", 0, 9) and clips["b_2_4"] == Clip("b_2_4", "b_2_4")


@pytest.mark.parametrize(
    "name", ["Caf\u00e9 terrace", "my.holiday.2024", "\u72ac", "50% [x] #1 (a)", "-dash", "it's"]
)
def test_any_name_of_a_file_is_one(name, folder):
    apart = unicodedata.normalize("NFD", name)  # as a Mac has it
    (folder.root / "videos" / f"{apart}.mp4").write_bytes(b"x")
    folder.put("val.csv", VAL).put("train.csv", f"filename,event_labels\n{apart}_1_3,Dog\n")
    assert folder.read().clips[f"{name}_1_3"] == Clip(f"{name}_1_3", name, 1, 3)


DENSE = "filename,onset,offset,event_labels\n"


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (["audio"], "there is no dense_visual.csv: in the clips of the other file .* as seen"),
        (["visual"], "there is no dense_audio.csv: in the clips of the other file .* as heard"),
        (["audio", "visual"], None),
        ([], None),
    ],
)
def test_one_file_of_dense_labels_alone_is_remarked(folder, there, said):
    folder.put("val.csv", VAL)
    for modality in there:
        folder.put(f"dense_{modality}.csv", DENSE + "v1,0,1,Dog\n")
    remarks = [x for x in folder.read().remarks if "other file of dense labels" in x]
    assert len(remarks) == (said is not None)
    assert said is None or re.fullmatch(said, remarks[0])


def test_dense_labels_are_of_the_videos_that_have_rows(folder):
    folder.put("val.csv", VAL + "a_0_4,Dog\nlong_1_3.4,Dog\n")
    folder.put("train.csv", "filename,event_labels\nb,Dog\n")
    folder.put("dense_audio.csv", DENSE + "v1.mp4,0.5,2.5,Dog\nnobody,1,2,Cat\na_0_4,3.5,4.4,Dog\n")
    folder.put("dense_visual.csv", DENSE + 'long_1.0_3.4,2.2,2.4,"Cat,Dog"\nb,0,1,Dog\n')
    own = folder.read()
    val = own.splits["val"]
    assert val.dense.tolist() == [True, False, True, True]
    assert np.argwhere(val.audio_label).tolist() == [[0, 0, 0], [0, 1, 0], [0, 2, 0], [2, 3, 0]]
    # A clip of 2.4 s has two segments: what lies behind them is in the second.
    assert np.argwhere(val.visual_label).tolist() == [[3, 1, 0], [3, 1, 1]]
    told = "\n".join(own.remarks)
    assert "dense_audio.csv: 1 rows are of clips in none of the splits" in told and "nobody" in told
    assert (
        "dense_visual.csv: events of labels that event_labels lacks: 1 (Cat in long_1_3.4)" in told
    )
    assert "dense labels of clips in train are not used: 1 (b)" in told


def test_times_in_names_may_be_written_otherwise_unless_both_are_clips(folder):
    table = "filename,event_labels\nlong_1_3,Dog\nlong_1.0_3,Dog\nlong_4_6.50,Dog\n"
    folder.put("val.csv", table)
    folder.put("dense_audio.csv", DENSE + "long_1_3,0,1,Dog\nlong_4.0_6.5,0,1,Dog\n")
    assert folder.read().splits["val"].dense.tolist() == [True, False, True]


def test_a_row_without_labels_says_that_nothing_occurs(folder):
    folder.put("val.csv", VAL).put("dense_visual.csv", DENSE + "v2,,,\n")
    val = folder.read().splits["val"]
    assert val.dense.tolist() == [False, True] and not val.visual_label.any()


def test_lengths_of_features_move_events_into_the_clip(folder):
    folder.put("val.csv", VAL).put("dense_audio.csv", DENSE + "v1,3.9,4.4,Dog\nv2,0,4,Cat\n")
    own = folder.read()
    assert np.argwhere(own.splits["val"].audio_label[0]).tolist() == [[4, 0]]
    full = dict.fromkeys(own.clips, 10)
    assert with_lengths(own, full).splits["val"].lengths is None
    short = with_lengths(own, full | {"v1": 4, "v2": 4})
    assert short.splits["val"].lengths.tolist() == [4, 4] and short.splits["train"].lengths is None
    assert np.argwhere(short.splits["val"].audio_label[0]).tolist() == [[3, 0]]
    assert not own.splits["val"].audio_label[0, 3].any()  # the first stays as it was
    left = with_lengths(own, {"a": 10, "v2": 3}).splits
    assert left["train"].ids == ["a"] and left["val"].ids == ["v2"]
    assert left["val"].audio_label[0].sum(0).tolist() == [0, 3, 0]
    with pytest.raises(UserError, match=r"dense_audio.csv: v1 \(3.9, 4.4\) is beyond the 3.5 s"):
        with_lengths(own, full | {"v1": 3})


def test_without_classes_it_says_how_to_write_them(folder):
    (folder.root / "classes.csv").unlink()
    folder.put("train.csv", "filename\tevent_labels\na\tDog,It's\nb\tCat\n")
    with pytest.raises(UserError) as refused:
        folder.read()
    command = str(refused.value).split("found: ")[1]
    assert command == f"printf '%s\\n' name Cat Dog 'It'\"'\"'s' > {folder.root}/classes.csv"


def test_unknown_labels_are_named_with_the_nearest(folder):
    folder.put("train.csv", "filename\tevent_labels\na\tDgo,Cat\nb\tcat\nc\tZebra\n")
    says = (
        "train.csv: labels that classes.csv lacks: Dgo .nearest: Dog., cat .nearest: Cat., Zebra;"
    )
    with pytest.raises(UserError, match=says):
        folder.read()
    many = "".join(f"a{i}\tx{i}\n" for i in range(30))
    with pytest.raises(UserError, match=r"x9, \.\.\. \(30 in all\)"):
        folder.put("train.csv", "filename\tevent_labels\n" + many).read()
