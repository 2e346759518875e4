"""Embeddings of the classes' names, which LEAP's decoder asks with.

They are read from the published file or from GloVe's text file (Pennington, Socher and Manning,
EMNLP 2014), or made up, when a training begins or a published checkpoint is read. From then on they
are among the model's variables (see nn/label_decoder.py), so that a finished run needs no file.
"""

import re
import unicodedata
import zlib
from collections.abc import Collection, Iterator, Mapping

import numpy as np
from etils import epath
from jaxtyping import Float

from avvp_jax.errors import UserError, cause, first_ten
from avvp_jax.interchange.torch_files import load_safely
from avvp_jax.storage.reading import DamagedFile, check_file
from avvp_jax.task import Task

NAME = "label_embeddings"
SPREAD = 0.4  # about that of GloVe's numbers
_TORCH = (b"PK", b"\x80")  # how a file of PyTorch begins: a zip archive, or older: a pickle
_LONGEST_LINE = 1 << 16  # bytes; GloVe's have less than 4,000
_PLACES = (
    "give llp_label_glove_embeddings.pt of LEAP's repository, or glove.6B.300d.txt of GloVe, as "
    "config.leap.label_embeddings or load's label_embeddings"
)


def label_embeddings(
    options: Mapping[str, object], task: Task, shape: tuple[int, ...]
) -> Float[np.ndarray, "classes width"]:
    """The embeddings of a task's classes, in their order.

    Args:
      options: `label_embeddings`, a file, and `made_up_embeddings`, whether to do without one.
      shape: what the network takes.

    Raises:
      UserError: there is no file, it is damaged, or it lacks a class.
    """
    path = options[NAME]
    if not path and options.get("made_up_embeddings"):
        return made_up(task, shape[1])
    if not path:
        raise UserError(f"LEAP needs an embedding of each class's name; {_PLACES}")
    try:
        check_file(path)
        with epath.Path(path).open("rb") as file:
            beginning = file.read(2)
    except DamagedFile as problem:
        raise UserError(f"{path}: {problem}; {_PLACES}") from None
    if beginning.startswith(_TORCH):
        return in_order(path, task, shape)
    return by_names(path, task, shape[1])


def made_up(task: Task, width: int) -> Float[np.ndarray, "classes width"]:
    """Random embeddings, the same for a class of the same name in every task."""
    generators = (np.random.default_rng(zlib.crc32(name.encode())) for name in task.classes)
    return np.stack([SPREAD * rng.standard_normal(width) for rng in generators]).astype(np.float32)


def in_order(path: str, task: Task, shape: tuple[int, ...]) -> Float[np.ndarray, "classes width"]:
    """Those of the published file: a dict of vectors in the order of the classes.

    Its keys are other spellings of the classes' names, in which words may differ. Where they do
    not, they must not be those of a class in another place.

    Raises:
      UserError: it holds something else, another number of vectors, or classes in another order.
    """
    try:
        content = load_safely(path)
    except UserError as problem:
        raise UserError(f"{problem}, or {_PLACES}") from None
    try:
        vectors = _numbers(content)
    except (ValueError, TypeError, RuntimeError) as error:
        reason = cause(error)
        raise UserError(f"{path}: holds no embeddings of classes ({reason}); {_PLACES}") from None
    count, width = len(vectors), vectors[0].size
    if (count, width) != shape:
        raise UserError(
            f"{path}: holds {count} embeddings of {width} numbers, and the network "
            f"takes {shape[0]} of {shape[1]}, one for each class in order; give GloVe's text file, "
            "from which those of any classes are made, or set config.model.label_width"
        )
    _refuse_other_order(path, list(content), task)
    with np.errstate(over="ignore"):
        found = np.stack([vector.reshape(-1) for vector in vectors]).astype(np.float32)
    if not np.isfinite(found).all():
        raise UserError(f"{path}: holds numbers that are not finite; {_PLACES}")
    return found


def _refuse_other_order(path: str, keys: list[object], task: Task) -> None:
    classes = [words_of(name) for name in task.classes]
    for place, key in enumerate(keys):
        words = words_of(key) if isinstance(key, str) else None
        if words in classes and words != classes[place]:
            raise UserError(
                f"{path}: has {key!r:.80} where the classes have {task.classes[place]}, and "
                "vectors are taken in the order of the classes; put them in that order, or give "
                "GloVe's text file"
            )


def _numbers(content: object) -> list[np.ndarray]:
    """The vectors of a dict, at least one, all of one length.

    They are not copied: a damaged file may claim any length.
    """
    if not isinstance(content, Mapping) or not content:
        raise ValueError("it is no dict of vectors")
    # Those of a network's own layer require a gradient, which NumPy's arrays have none of.
    plain = [getattr(vector, "detach", lambda v=vector: v)() for vector in content.values()]
    vectors = [np.asarray(vector) for vector in plain]
    if any(vector.dtype.kind not in "fiu" for vector in vectors):
        raise ValueError("not all of its values are numbers")
    if any(vector.size != max(vector.shape, default=0) for vector in vectors):
        raise ValueError("not all of its values are vectors")
    if len({vector.size for vector in vectors}) > 1:
        raise ValueError("its vectors have several lengths")
    return vectors


def words_of(name: str) -> list[str]:
    """The words of a class's name, in lower case: Frying_(food) has frying and food."""
    whole = unicodedata.normalize("NFC", name)  # an accent is no sign of its own
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", whole)
    return re.findall(r"[^\W_]+", apart.lower())


def by_names(path: str, task: Task, width: int) -> Float[np.ndarray, "classes width"]:
    """Those of GloVe's text file: for each class, the mean of its words' vectors.

    Raises:
      UserError: the file is damaged, or lacks a word; names it. Classes have the same words.
    """
    words = {name: words_of(name) for name in task.classes}
    alike: dict[tuple[str, ...], list[str]] = {}
    for name in task.classes:
        alike.setdefault(tuple(sorted(words[name])), []).append(name)
    if wordless := [name for name in task.classes if not words[name]]:
        raise UserError(
            f"classes {first_ten(wordless)} have no words to look for in {path}; rename them, or "
            "give a .pt of a dict with a vector for each class in order"
        )
    if same := next((names for names in alike.values() if len(names) > 1), None):
        raise UserError(
            f"classes {first_ten(same)} have the same words, so that {path} has one embedding for "
            "them; rename them, or give a .pt of a dict with a vector for each class in order"
        )
    wanted = {word for each in words.values() for word in each}
    found = dict(_vectors(path, wanted, width))
    if not found:
        raise UserError(
            f"{path}: not GloVe's vectors, it has no word of any class's name; {_PLACES}"
        )
    if lacking := sorted(wanted - found.keys()):
        where = [name for name in task.classes if set(words[name]) & set(lacking)]
        raise UserError(
            f"{path}: lacks {first_ten(lacking)} of the classes {first_ten(where)}; rename these "
            "with words that it has, or give a .pt of a dict with a vector for each class in order"
        )
    means = [np.mean([found[word] for word in words[name]], axis=0) for name in task.classes]
    return np.stack(means).astype(np.float32)


def _vectors(
    path: str, wanted: Collection[str], width: int
) -> Iterator[tuple[str, Float[np.ndarray, " width"]]]:
    """The vectors of some words; each line has a word and its numbers, parted by spaces."""
    keys, left = {word.encode() for word in wanted}, len(wanted)
    try:
        with epath.Path(path).open("rb") as file:
            while left and (line := file.readline(_LONGEST_LINE)):
                word, _, numbers = line.partition(b" ")
                if word not in keys:
                    continue
                vector = np.array([float(number) for number in numbers.split()])
                if vector.shape != (width,):
                    raise ValueError(f"{word.decode()} has {vector.size} numbers, not {width}")
                if not (np.abs(vector) <= np.finfo(np.float32).max).all():
                    raise ValueError(f"{word.decode()} has numbers that are not finite")
                keys.remove(word)
                left -= 1
                yield word.decode(), vector
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: not GloVe's vectors of {width} numbers ({cause(error)}); {_PLACES}, or set "
            "config.model.label_width"
        ) from None
