"""Somebody's label embeddings for LEAP: a .pt of vectors, or GloVe's text file."""

import os
import pathlib
import pickle

import numpy as np
import torch

from tests.damage.artefacts import artefact
from tests.damage.hostile import TERABYTES, Trap, nothing, saved, torch_bytes, trap

embeddings = artefact("leap", "label_embeddings", "embeddings.pt")


def vectors(classes: int = 25, width: int = 300, value: float = 1.0) -> dict[str, torch.Tensor]:
    """Label embeddings as published."""
    return {str(index): torch.full((width,), value) for index in range(classes)}


def in_a_zip(path: pathlib.Path) -> None:
    torch.save([Trap(path)], path)


def endless() -> bytes:
    """Vectors that claim to be long, all of whose numbers are one."""
    vector = torch.zeros(1).as_strided((TERABYTES,), (0,))
    return torch_bytes({name: vector for name in vectors()})


WAY_OUT = "use a file that holds tensors only, or give llp_label_glove_embeddings.pt"
CASES = [
    embeddings("missing", "the file", "give llp_label_glove_embeddings.pt", nothing),
    embeddings("empty", "the file", "is empty", b""),
    embeddings("folder for a file", "a folder", "is a folder", os.mkdir),
    embeddings("wrong shape", "24 classes", "24 embeddings of 300", torch_bytes(vectors(24))),
    embeddings("wrong shape", "short", "25 embeddings of 100", torch_bytes(vectors(width=100))),
    embeddings("missing", "words", "lacks accordion", b"speech" + b" 0.5" * 300),
    embeddings("truncated", "a word", "speech has 3 numbers, not 300", b"speech 1 2 3"),
    embeddings("truncated", "the end", WAY_OUT, torch_bytes(vectors())[:-9]),
    embeddings("code in a pickle", "embeddings", WAY_OUT, trap, launched=True),
    embeddings("code in a pickle", "embeddings in a zip", WAY_OUT, in_a_zip),
    embeddings("other format", "a pickle of arrays", WAY_OUT, pickle.dumps({"a": np.zeros(3)})),
    embeddings("other format", "a .npy", "no word of any class", saved(np.zeros((25, 300)))),
    embeddings("NaN or infinity", "vectors", "not finite", torch_bytes(vectors(value=np.nan))),
    embeddings("claims terabytes", "vectors", f"embeddings of {TERABYTES}", endless()),
]
