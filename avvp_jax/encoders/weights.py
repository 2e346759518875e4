"""The encoders' published weights: what is needed, what is there, and downloading it.

  python -m avvp_jax.encoders.weights [--weights_dir DIR] [--streams NAME ...] [--download]

lists the files of the streams, where they come from and what is in DIR; --download fetches those
that are missing: of the base streams, or of those named. PyTorch's files and safetensors are read,
without PyTorch; TensorFlow's checkpoint of VGGish (vggish_model.ckpt) holds the same numbers and is
not read.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence

import numpy as np

from avvp_jax.encoders import clap_files, clip_files
from avvp_jax.encoders.downloads import download, sha256_of
from avvp_jax.encoders.pairs import PAIRS, VOCABULARY, Pair
from avvp_jax.encoders.published import ENCODERS, Encoder, from_published
from avvp_jax.encoders.safetensors_files import read_safetensors
from avvp_jax.encoders.torch_files import read_tensors
from avvp_jax.encoders.towers import Towers
from avvp_jax.encoders.weight_places import default_folder, find, find_vocabulary, folder_of
from avvp_jax.errors import UserError
from avvp_jax.nn.functional import Variables
from avvp_jax.runtime import terminal
from avvp_jax.storage.reading import DamagedFile, check_file, read_bytes

COMMAND = "python -m avvp_jax.encoders.weights --download"
# Shapes of CLIP ViT-L/14's tensors, under OpenAI's names and Hugging Face's.
_VIT_L_14 = {
    "visual.conv1.weight": (1024, 3, 14, 14),
    "visual.positional_embedding": (257, 1024),
    "vision_model.embeddings.patch_embedding.weight": (1024, 3, 14, 14),
    "vision_model.embeddings.position_embedding.weight": (257, 1024),
}


def hash_in(name: str) -> str:
    """The beginning of the SHA-256 in a published file's name."""
    return name.rpartition("-")[2].partition(".")[0]


def load(stream: str, weights_dir: str | None = None) -> tuple[Variables, str]:
    """The variables of a stream's published encoder, float32, and the SHA-256 of their file.

    A file of another SHA-256 than the published ones is used, and one line on stderr says so.

    Raises:
      UserError: there is no file, or it is damaged, hostile, or of another network.
    """
    encoder, folder = ENCODERS[stream], folder_of(weights_dir)
    command = f"{COMMAND} --weights_dir={folder}" if weights_dir else COMMAND
    path = find(encoder, folder)
    if path is None:
        raise UserError(
            f"{folder}: has no {encoder.names[0]}, the weights for {stream}; run {command}, or put "
            f"the file of {encoder.url} there"
        )
    state = read_tensors(path, f"remove it and run {command}")
    network = encoder.network()
    variables = from_published(state, network.shapes(), encoder.words, encoder.unused, path)
    digest = sha256_of(path)
    if note := _other_hash(encoder, digest, path):
        print(f"{path}: {note}; used all the same", file=sys.stderr, flush=True)
    return variables, digest


def load_towers(
    stream: str, weights_dir: str | None = None, text: bool = True
) -> tuple[Towers, str]:
    """The towers of CLIP or CLAP in a weights folder, and the SHA-256 of their file.

    Lines on stderr say so of a file that is not the published one or not what VALOR used.

    Args:
      text: whether the text tower is wanted.

    Raises:
      UserError: there is no file, or it is damaged, hostile, or of another network.
    """
    pair, folder = PAIRS[stream], folder_of(weights_dir)
    command = f"{COMMAND} --streams {stream}"
    command += f" --weights_dir={folder}" if weights_dir else ""
    path = find(pair, folder)
    if path is None:
        raise UserError(
            f"{folder}: has no {' or '.join(pair.names)}, the weights for {stream}; run {command}, "
            f"or put the file of {pair.url} there"
        )
    read = read_safetensors if path.endswith(".safetensors") else read_tensors
    state = read(path, f"remove it and run {command}")
    if stream == "clip":
        _refuse_other_gelu(os.path.join(os.path.dirname(path), "config.json"))
        towers, note = clip_files.read_clip(state, path, text), _other_size(state)
    else:
        towers, note = clap_files.read_clap(state, path, text)
    digest = sha256_of(path)
    for each in filter(None, (note, _other_hash(pair, digest, path))):
        print(f"{path}: {each}; used all the same", file=sys.stderr, flush=True)
    return towers, digest


def _refuse_other_gelu(path: str) -> None:
    """Checks that Hugging Face's config.json beside weights, if there is one, is of OpenAI's CLIP.

    Others have tensors of the same names and shapes, and another activation between them.
    """
    parts = [f"{tower}_config{dict_}" for tower in ("text", "vision") for dict_ in ("", "_dict")]
    try:
        config = json.loads(read_bytes(path, 1 << 20))
        kinds = [config, *(config.get(part) or {} for part in parts)]
        found = [kind.get("hidden_act", "quick_gelu") for kind in kinds]
    except (DamagedFile, ValueError, AttributeError, RecursionError):
        return  # the tensors are what counts
    if other := [each for each in found if each != "quick_gelu"]:
        raise UserError(
            f"{path}: says that its network has {other[0]!r:.40} and not quick_gelu; OpenAI's CLIP "
            "can be read alone"
        )


def _other_size(state: Mapping[str, np.ndarray]) -> str | None:
    """Says so if a CLIP has other sizes than ViT-L/14."""
    if all(state[name].shape == shape for name, shape in _VIT_L_14.items() if name in state):
        return None
    return "its sizes are not those of ViT-L/14: not the weights that VALOR used"


def _other_hash(published: Encoder | Pair, digest: str, path: str) -> str | None:
    """Says so if the SHA-256 of a file is none of the published ones, where there are such."""
    if isinstance(published, Encoder):
        known = [hash_in(name) for name in published.names]
    else:
        known = [
            whole for name, whole in published.sha256.items() if name == os.path.basename(path)
        ]
    if not known or digest.startswith(tuple(known)):
        return None
    known = [each[:8] for each in known]
    return (
        f"its SHA-256 begins with {digest[: len(known[0])]}, that of the published weights with "
        f"{' or '.join(known)}"
    )


def listing(streams: Sequence[str], folder: str) -> str:
    """What is needed for streams, where it comes from, and what is there, for people."""
    lines = [f"weights in {folder}:"]
    for stream in streams:
        published = ENCODERS.get(stream) or PAIRS[stream]
        lines.append(f"{stream}: {published.title}, about {published.megabytes} MB")
        lines.append(f"  from {published.url}")
        names = " or ".join(published.names)
        if isinstance(published, Encoder):
            hashes = " or ".join(hash_in(name) for name in published.names)
            lines.append(f"  as {names}, SHA-256 {hashes}...")
        else:
            known = [f"{name}, SHA-256 {known[:8]}..." for name, known in published.sha256.items()]
            lines.append(f"  as {names} ({'; '.join(known) or 'no SHA-256 is published'})")
        lines.append(f"  {_state_of(published, find(published, folder), folder)}")
        if isinstance(published, Pair):
            lines.append(f"  {_vocabulary_of(published, folder)}")
    return "\n".join(lines)


def _state_of(published: Encoder | Pair, path: str | None, folder: str) -> str:
    if path is None:
        return f"missing; --download --streams {published.stream} fetches it"
    name = os.path.relpath(path, folder)
    try:
        check_file(path)
        note = _other_hash(published, sha256_of(path), path)
    except DamagedFile as problem:
        return f"{name} is there, but {problem}"
    except OSError as error:
        return f"{name} is there, but cannot be read ({error.strerror})"
    return f"{name} is there, but {note}" if note else f"{name} is there"


def _vocabulary_of(pair: Pair, folder: str) -> str:
    if found := find_vocabulary(pair.stream, folder):
        return f"vocabulary: {' and '.join(os.path.relpath(x, folder) for x in found)} is there"
    return (
        f"vocabulary: missing; {pair.vocabulary_folder}/{VOCABULARY} (or vocab.json and "
        f"merges.txt) from {pair.vocabulary_url}"
    )


def fetch(streams: Sequence[str], folder: str) -> None:
    """Downloads the files of streams that a folder lacks.

    Raises:
      UserError: see download.
    """
    for stream in streams:
        if encoder := ENCODERS.get(stream):
            if find(encoder, folder) is None:
                _fetch(encoder.url, folder, encoder.names[0], hash_in(encoder.names[0]))
            continue
        pair = PAIRS[stream]
        if find(pair, folder) is None:
            _fetch(pair.url, folder, pair.download, pair.sha256.get(pair.download, ""))
        if find_vocabulary(stream, folder) is None:
            _fetch(pair.vocabulary_url, folder, f"{pair.vocabulary_folder}/{VOCABULARY}", "")


def _fetch(url: str, folder: str, name: str, sha256: str) -> None:
    path = os.path.join(folder, name)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{os.path.dirname(path)}: cannot be made ({error.strerror}); give --weights_dir"
        ) from None
    download(url, path, sha256)
    if not sha256:
        print(f"{path}: no SHA-256 is published; what came has {sha256_of(path)}", file=sys.stderr)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m avvp_jax.encoders.weights",
        description=__doc__.partition("\n")[0],
        allow_abbrev=False,
    )
    parser.add_argument("--weights_dir", help=f"folder of the files (default {default_folder()})")
    parser.add_argument(
        "--streams",
        nargs="+",
        metavar="NAME",
        help=f"of {', '.join((*ENCODERS, *PAIRS))} (default all; to download, "
        f"{', '.join(ENCODERS)})",
    )
    parser.add_argument(
        "--download", action="store_true", help="fetch what is missing, with the vocabularies"
    )
    return parser


def run(args: argparse.Namespace) -> str:
    known = (*ENCODERS, *PAIRS)
    if unknown := [name for name in args.streams or () if name not in known]:
        raise UserError(
            f"--streams: no encoder for {', '.join(unknown)}; known: {', '.join(known)}"
        )
    folder = folder_of(args.weights_dir)
    if args.download:
        fetch(args.streams or list(ENCODERS), folder)
    return listing(args.streams or known, folder)


def main() -> None:
    terminal.protect()  # whoever reads may be gone
    try:
        print(run(arguments().parse_args()))
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted; what was downloaded is kept, and goes on from there", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
