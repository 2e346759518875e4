"""Reads files for teachers: prompts, their embeddings, and thresholds."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Num

from avvp_jax.errors import UserError, first_ten
from avvp_jax.storage.feature_files import read_numbers
from avvp_jax.storage.reading import DamagedFile, read_bytes, read_npz

_WIDEST_EMBEDDING = 1 << 14
_LONGEST_TEXT = 1 << 20


def read_prompt_embeddings(path: Path, prompts: Sequence[str]) -> Num[np.ndarray, "classes width"]:
    """Reads the embeddings of prompts.

    Args:
        path: an .npy [classes, width] in class order, or an .npz with `embedding`
            [prompts, width] in any order and `prompt` [prompts], their texts.
        prompts: one for each class.

    Raises:
        UserError: the file is missing, or does not hold that.
    """
    if path.suffix == ".npz":
        file = read_npz(str(path), ("embedding", "prompt"), "make it again with numpy.savez")
        embeddings, texts = file["embedding"], file["prompt"]
        if texts.ndim != 1 or embeddings.ndim != 2 or len(embeddings) != len(texts):
            raise UserError(
                f"{path}: prompt must be [prompts] and embedding [prompts, width], not "
                f"{texts.shape} and {embeddings.shape}"
            )
        row_of = {str(text): row for row, text in enumerate(texts)}
        if len(row_of) < len(texts):
            raise UserError(f"{path}: names a prompt twice; leave one of each")
        missing = [repr(prompt) for prompt in prompts if prompt not in row_of]
        if missing:
            raise UserError(
                f"{path}: lacks the prompts {first_ten(missing)}; --list_prompts shows those in "
                "use, --prompts replaces them"
            )
        embeddings = embeddings[[row_of[prompt] for prompt in prompts]]
    else:
        try:
            embeddings = read_numbers(path, (len(prompts), None), _WIDEST_EMBEDDING)
        except DamagedFile as problem:
            raise UserError(f"{path}: {problem}; it needs a row for each class's prompt") from None
    if embeddings.dtype.kind not in "fiu" or not has_direction(embeddings).all():
        raise UserError(f"{path}: embeddings must be finite numbers of a finite length above 0")
    return embeddings


def has_direction(embeddings: Num[np.ndarray, "*rows width"]) -> Bool[np.ndarray, "*rows"]:
    """For each embedding, whether its length is finite and not 0, so that it can be normalised."""
    with np.errstate(over="ignore"):
        length = np.linalg.norm(embeddings.astype(np.float64), axis=-1)
    return np.isfinite(length) & (length > 0)


def read_thresholds(path: Path, classes: int) -> list[float]:
    """Reads thresholds from a text file: a number for each class, separated by white space.

    Raises:
        UserError: the file is missing, or does not hold that.
    """
    words = _text(path, classes).split()
    try:
        values = [float(word) for word in words]
    except ValueError as error:
        raise UserError(f"{path}: {error}; thresholds are {classes} numbers") from None
    if len(values) != classes or not np.isfinite(values).all():
        raise UserError(
            f"{path}: holds {len(values)} thresholds; {classes} finite numbers are needed, "
            "one for each class"
        )
    return values


def read_prompts(path: Path, classes: int) -> list[str]:
    """Reads prompts from a text file: a line for each class.

    Raises:
        UserError: the file is missing, or does not hold that.
    """
    prompts = [line.strip() for line in _text(path, classes).splitlines() if line.strip()]
    if len(prompts) != classes:
        raise UserError(
            f"{path}: holds {len(prompts)} prompts; {classes} lines are needed, one for each class"
        )
    return prompts


def _text(path: Path, classes: int) -> str:
    try:
        return read_bytes(path, _LONGEST_TEXT).decode("utf-8-sig")
    except DamagedFile as problem:
        raise UserError(f"{path}: {problem}; it needs a list of {classes}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: is not UTF-8 text; save it as UTF-8") from None
