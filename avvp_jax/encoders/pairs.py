"""CLIP and CLAP as published: where their weights and vocabularies come from and what they are.

A file of weights holds a pair of towers (towers.py), whose sizes it gives.
"""

import dataclasses
from collections.abc import Mapping

VOCABULARY = "tokenizer.json"  # what is downloaded of a vocabulary


@dataclasses.dataclass(frozen=True)
class Pair:
    """The published weights of a stream's two towers.

    Attributes:
      stream: the name of the stream (streams.py).
      title: of the networks, for people.
      url: of the file that is downloaded.
      download: the name of that file.
      names: of files in a weights folder, in the order in which they are looked for.
      others: patterns of further ones, of other sizes or checkpoints.
      sha256: of the files for which it is published, by name.
      megabytes: about the size of the one that is downloaded.
      vocabulary_url: of tokenizer.json.
      vocabulary_folder: where that is put.
      vocabulary_folders: patterns of others that hold the same vocabulary.
      vocabulary_beside: it may stand beside the weights.
    """

    stream: str
    title: str
    url: str
    download: str
    names: tuple[str, ...]
    others: tuple[str, ...]
    sha256: Mapping[str, str]
    megabytes: int
    vocabulary_url: str
    vocabulary_folder: str
    vocabulary_folders: tuple[str, ...] = ()
    vocabulary_beside: bool = False


_VIT_L_14 = "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836"
_HUGGING_FACE = "https://huggingface.co"
PAIRS = {
    pair.stream: pair
    for pair in (
        Pair(
            "clip",
            "CLIP ViT-L/14",
            f"https://openaipublic.azureedge.net/clip/models/{_VIT_L_14}/ViT-L-14.pt",
            "ViT-L-14.pt",
            (
                "clip-vit-large-patch14/model.safetensors",
                "ViT-L-14.pt",
                "clip-vit-large-patch14/pytorch_model.bin",
            ),
            ("clip-vit-*/model.safetensors", "ViT-*.pt", "clip-vit-*/pytorch_model.bin"),
            {"ViT-L-14.pt": _VIT_L_14},
            933,
            f"{_HUGGING_FACE}/openai/clip-vit-large-patch14/resolve/main/{VOCABULARY}",
            "clip-vit-large-patch14",
            ("clip-vit-*",),
            vocabulary_beside=True,
        ),
        Pair(
            "clap",
            "CLAP (630k, fusion)",
            f"{_HUGGING_FACE}/lukewys/laion_clap/resolve/main/630k-fusion-best.pt",
            "630k-fusion-best.pt",
            (
                "630k-fusion-best.pt",
                "clap-htsat-fused/model.safetensors",
                "clap-htsat-fused/pytorch_model.bin",
            ),
            ("clap-*/model.safetensors", "clap-*/pytorch_model.bin"),
            {},
            1863,
            f"{_HUGGING_FACE}/FacebookAI/roberta-base/resolve/main/{VOCABULARY}",
            "roberta-base",
            ("clap-htsat-fused", "clap-*"),
        ),
    )
}
