"""Small vocabularies of byte pairs, in both forms in which those of CLIP and RoBERTa are published.

Their merges are few, so that the tokens of a prompt can be told by hand.
"""

import itertools
import json
import pathlib

_LETTERS = "".join(map(chr, range(33, 127))) + "Ġ"  # what bytes are to GPT-2; Ġ is a space
# In this order: which of two merges comes first matters.
MERGES = {
    "clip": ("c a", "ca r</w>", "d o", "do g</w>", "o f</w>", "o g</w>", "1 2</w>", "! !</w>"),
    "clap": ("c a", "ca r", "Ġ car", "d o", "do g", "1 2", "Ġ a"),
}
SPECIAL = {"clip": ("<|startoftext|>", "<|endoftext|>"), "clap": ("<s>", "<pad>", "</s>")}
_WORDS_OF_CLIP = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def words(stream: str) -> dict[str, int]:
    """Token -> id."""
    single = [*_LETTERS]
    if stream == "clip":
        single += [f"{x}</w>" for x in _LETTERS]
    merged = [pair.replace(" ", "") for pair in MERGES[stream]]
    return dict(zip([*single, *merged, *SPECIAL[stream]], itertools.count(), strict=False))


def in_two_files(folder: pathlib.Path, stream: str) -> tuple[str, str]:
    """Writes vocab.json and merges.txt."""
    folder.mkdir(parents=True, exist_ok=True)
    vocab, merges = folder / "vocab.json", folder / "merges.txt"
    vocab.write_text(json.dumps(words(stream)))
    merges.write_text("\n".join(["#version: 0.2", *MERGES[stream]]) + "\n")
    return str(vocab), str(merges)


def in_one_file(folder: pathlib.Path, stream: str) -> tuple[str]:
    """Writes tokenizer.json, with what the published ones hold beside: ends, padding, cutting."""
    folder.mkdir(parents=True, exist_ok=True)
    path, ids, of_clip = folder / "tokenizer.json", words(stream), stream == "clip"
    start, end = SPECIAL[stream][0], SPECIAL[stream][-1]
    to_bytes = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    normalizers = [
        {"type": "NFC"},
        {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
        {"type": "Lowercase"},
    ]
    split = {
        "type": "Split", "pattern": {"Regex": _WORDS_OF_CLIP}, "behavior": "Removed",
        "invert": True,
    }  # fmt: skip
    in_parts = {"type": "Sequence", "pretokenizers": [split, to_bytes]}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    padding = {"direction": "Right", "pad_to_multiple_of": None, "pad_type_id": 0}
    made = {
        "version": "1.0",
        "truncation": {
            "direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0,
        },
        "padding": padding | {"strategy": {"Fixed": 9}, "pad_id": 0, "pad_token": "!"},
        "added_tokens": [
            {"id": ids[x], "content": x, "special": True, **flags} for x in SPECIAL[stream]
        ],
        "normalizer": {"type": "Sequence", "normalizers": normalizers} if of_clip else None,
        "pre_tokenizer": in_parts if of_clip else to_bytes,
        "post_processor": {
            "type": "RobertaProcessing", "sep": [end, ids[end]], "cls": [start, ids[start]],
            "trim_offsets": False, "add_prefix_space": False,
        },
        "decoder": {**to_bytes},
        "model": {
            "type": "BPE", "dropout": None, "unk_token": end if of_clip else None,
            "continuing_subword_prefix": "", "end_of_word_suffix": "</w>" if of_clip else "",
            "fuse_unk": False, "vocab": ids, "merges": list(MERGES[stream]),
        },
    }  # fmt: skip
    path.write_text(json.dumps(made))
    return (str(path),)
