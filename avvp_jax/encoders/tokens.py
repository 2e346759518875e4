"""Prompts as numbers: the tokens of CLIP's text tower and of CLAP's.

Words become tokens by the vocabulary that comes with the weights, which `tokenizers` reads. The
prompts that VALOR gave CLIP for LLP's classes need none: their tokens are known.
"""

import contextlib
import importlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int32

from avvp_jax.encoders.teachers import TEACHERS
from avvp_jax.errors import UserError, cause
from avvp_jax.storage.reading import DamagedFile, check_file

Ids = Int32[np.ndarray, "prompts length"]
_LARGEST_VOCABULARY = 1 << 26  # bytes
_LARGEST_ID = 2**31 - 1
_SHOWN = 60  # letters of a prompt in a message


class Marks(NamedTuple):
    """What surrounds a prompt's tokens: the words for its start and its end, and for padding."""

    start: str
    end: str
    padding: str
    length: int  # of the longest prompt, with these
    padded: bool  # whether all prompts are made that long, and not as long as the longest


MARKS = {
    # What follows the end of a prompt does not matter to CLIP.
    "clip": Marks("<|startoftext|>", "<|endoftext|>", "<|endoftext|>", 77, False),
    "clap": Marks("<s>", "</s>", "<pad>", 77, True),
}
# "A photo of" and "." in CLIP's vocabulary; between them stands what LLP's prompts differ in.
_START, _END, _PHOTO, _STOP = 49406, 49407, (320, 1125, 539), 269
_SIGHTS = (
    *("1047 2578", "320 1615", "1047 14289", "320 1929", "320 2368", "38516 1559"),
    *("1047 1629 3835", "320 1769 11321", "320 37617", "320 23013", "320 27014", "1047 5864"),
    *("320 3717 541 320 30926", "320 17058", "320 3125 27119 15619", "320 8301 1794"),
    *("550 48760", "320 31675 30895", "320 10297", "320 11956", "320 10616 3759 528"),
    *("320 26035 17243", "320 6828 1794", "320 25066", "3500 940 1682"),
)
_KNOWN = {
    prompt: (*_PHOTO, *map(int, sight.split()), _STOP)
    for prompt, sight in zip(TEACHERS["visual"].prompts, _SIGHTS, strict=True)
}


def tokenised(
    stream: str, prompts: Sequence[str], vocabulary: Sequence[str] | None, missing: str
) -> tuple[Ids, Ids]:
    """The tokens of prompts and their mask, which is 1 for tokens and 0 for padding.

    Args:
      stream: "clip" or "clap", whose text tower it is for.
      vocabulary: paths of tokenizer.json, or of vocab.json and merges.txt; None without any.
      missing: what to say where it is needed and there is none.

    Raises:
      UserError: a vocabulary is needed and missing or damaged, or a prompt is too long.
    """
    marks = MARKS[stream]
    if stream == "clip" and all(prompt in _KNOWN for prompt in prompts):
        found, (start, end, padding) = [_KNOWN[x] for x in prompts], (_START, _END, _END)
    else:
        if vocabulary is None:
            raise UserError(missing)
        tokenizer = _tokenizer(stream, vocabulary)
        start, end, padding = _ids_of(tokenizer, marks[:3], vocabulary[0])
        with _refusing(vocabulary[0]):
            found = [tokenizer.encode(x, add_special_tokens=False).ids for x in prompts]
        if max(start, end, padding, *itertools.chain(*found)) > _LARGEST_ID:
            raise UserError(f"{vocabulary[0]}: has ids that no network has; get it anew")
    for prompt, ids in zip(prompts, found, strict=True):
        if not ids or len(ids) + 2 > marks.length:
            what = "has no word" if not ids else f"has {len(ids)} tokens"
            raise UserError(
                f"the prompt {prompt[:_SHOWN]!r} {what}; {stream} takes 1 to {marks.length - 2}"
            )
    length = marks.length if marks.padded else max(map(len, found)) + 2
    rows = np.full((len(found), length), padding, np.int32)
    mask = np.zeros_like(rows)
    for row, ids in enumerate(found):
        rows[row, : len(ids) + 2] = (start, *ids, end)
        mask[row, : len(ids) + 2] = 1
    return rows, mask


def _ids_of(tokenizer: Any, words: Sequence[str], path: str) -> list[int]:
    ids = [tokenizer.token_to_id(word) for word in words]
    if None in ids:
        raise UserError(
            f"{path}: has no token {words[ids.index(None)]}; take the vocabulary that belongs to "
            "the weights"
        )
    return ids


def _tokenizer(stream: str, vocabulary: Sequence[str]) -> Any:
    """The library's tokenizer of files; it neither cuts nor pads."""
    try:
        library = importlib.import_module("tokenizers")
    except ImportError:
        raise UserError(
            "prompts other than LLP's for CLIP need the package tokenizers; run pip install "
            "tokenizers"
        ) from None
    for path in vocabulary:
        with _refusing(path):
            check_file(path)
            if _size(path) > _LARGEST_VOCABULARY:
                raise DamagedFile("is too large for a vocabulary")
    with _refusing(vocabulary[0]):
        if len(vocabulary) == 1:
            made = library.Tokenizer.from_file(vocabulary[0])
        else:
            made = (_of_clip if stream == "clip" else _of_roberta)(library, *vocabulary)
        made.no_truncation()
        made.no_padding()
        return made


@contextlib.contextmanager
def _refusing(path: str) -> Iterator[None]:
    """Says which vocabulary it is that the library cannot read, or cannot use."""
    try:
        yield
    except DamagedFile as problem:
        raise UserError(f"{path}: {problem}; get it anew") from None
    except BaseException as error:
        # The library raises bare Exceptions. Where it panics, they do not even derive from that.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        said = f"{path}: is no readable vocabulary ({cause(error)}); get it anew"
        raise UserError(said) from None


def _size(path: str) -> int:
    with open(path, "rb") as file:
        return file.seek(0, 2)


def _of_clip(library: Any, vocab: str, merges: str) -> Any:
    """CLIP's byte pairs: of lower case, apart at spaces and kinds of signs; ends are marked."""
    pairs = library.models.BPE.from_file(
        vocab, merges, unk_token="<|endoftext|>", end_of_word_suffix="</w>"
    )
    made, normalizers = library.Tokenizer(pairs), library.normalizers
    spaces = normalizers.Replace(library.Regex(r"\s+"), " ")
    made.normalizer = normalizers.Sequence([normalizers.NFC(), spaces, normalizers.Lowercase()])
    words = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    apart = library.pre_tokenizers.Split(library.Regex(words), "removed", invert=True)
    to_bytes = library.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.pre_tokenizer = library.pre_tokenizers.Sequence([apart, to_bytes])
    return made


def _of_roberta(library: Any, vocab: str, merges: str) -> Any:
    """RoBERTa's byte pairs, those of GPT-2."""
    made = library.Tokenizer(library.models.BPE.from_file(vocab, merges))
    made.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    return made
