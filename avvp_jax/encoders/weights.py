"""The encoders' published weights: what is needed, what is there, and downloading it.

  python -m avvp_jax.encoders.weights [--weights_dir DIR] [--streams NAME ...] [--download]

lists the files of the streams, where they come from and what is in DIR; --download fetches those
that are missing. PyTorch's files alone are read, and without PyTorch; TensorFlow's checkpoint of
VGGish (vggish_model.ckpt) holds the same numbers and is not read.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from avvp_jax.encoders.downloads import download, sha256_of
from avvp_jax.encoders.published import ENCODERS, Encoder, from_published
from avvp_jax.encoders.torch_files import read_tensors
from avvp_jax.errors import UserError
from avvp_jax.nn.functional import Variables
from avvp_jax.runtime import terminal
from avvp_jax.storage.writing import absolute, on_cloud

COMMAND = "python -m avvp_jax.encoders.weights --download"


def default_folder() -> str:
    """The user's folder for weights, in their cache."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    # A relative path there is to be ignored (XDG Base Directory Specification).
    cache = cache if os.path.isabs(cache) else os.path.expanduser("~/.cache")
    return os.path.join(cache, "avvp_jax", "weights")


def folder_of(weights_dir: str | None) -> str:
    """A weights folder as given, or the default, made absolute. Empty is the default too.

    Raises:
      UserError: it is on cloud storage, or something else is there.
    """
    folder = absolute(weights_dir or default_folder())
    if on_cloud(folder):
        raise UserError(f"weights_dir={folder}: must be a folder on this machine")
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise UserError(f"weights_dir={folder}: is not a folder; choose another")
    return folder


def find(encoder: Encoder, folder: str) -> str | None:
    """The path of an encoder's file in a folder: the published name first; None without one."""
    others = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    stem = encoder.names[0].rpartition("-")[0]
    others = [name for name in others if name in (f"{stem}.pth", f"{stem}.pt")] + [
        name for name in others if name.startswith(f"{stem}-") and name.endswith((".pth", ".pt"))
    ]
    for name in (*encoder.names, *others):
        if os.path.lexists(os.path.join(folder, name)):
            return os.path.join(folder, name)
    return None


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
    if note := _other_hash(encoder, digest):
        print(f"{path}: {note}; used all the same", file=sys.stderr, flush=True)
    return variables, digest


def _other_hash(encoder: Encoder, digest: str) -> str | None:
    """Says so if the SHA-256 of a file is none of the published ones."""
    known = [hash_in(name) for name in encoder.names]
    if digest.startswith(tuple(known)):
        return None
    return (
        f"its SHA-256 begins with {digest[: len(known[0])]}, that of the published weights with "
        f"{' or '.join(known)}"
    )


def listing(streams: Sequence[str], folder: str) -> str:
    """What is needed for streams, where it comes from, and what is there, for people."""
    lines = [f"weights in {folder}:"]
    for stream in streams:
        encoder, path = ENCODERS[stream], find(ENCODERS[stream], folder)
        lines.append(f"{stream}: {encoder.title}, about {encoder.megabytes} MB")
        lines.append(f"  from {encoder.url}")
        hashes = " or ".join(hash_in(name) for name in encoder.names)
        lines.append(f"  as {' or '.join(encoder.names)}, SHA-256 {hashes}...")
        lines.append(f"  {_state_of(encoder, path)}")
    return "\n".join(lines)


def _state_of(encoder: Encoder, path: str | None) -> str:
    if path is None:
        return "missing; --download fetches it"
    name = os.path.basename(path)
    try:
        note = _other_hash(encoder, sha256_of(path))
    except OSError as error:
        return f"{name} is there, but cannot be read ({error.strerror})"
    return f"{name} is there, but {note}" if note else f"{name} is there"


def fetch(streams: Sequence[str], folder: str) -> None:
    """Downloads the files of streams that a folder lacks.

    Raises:
      UserError: see download.
    """
    for encoder in (ENCODERS[stream] for stream in streams):
        if find(encoder, folder) is None:
            try:
                os.makedirs(folder, exist_ok=True)
            except OSError as error:
                raise UserError(
                    f"{folder}: cannot be made ({error.strerror}); give --weights_dir"
                ) from None
            name = encoder.names[0]
            download(encoder.url, os.path.join(folder, name), hash_in(name))


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m avvp_jax.encoders.weights",
        description=__doc__.partition("\n")[0],
        allow_abbrev=False,
    )
    parser.add_argument("--weights_dir", help=f"folder of the files (default {default_folder()})")
    parser.add_argument(
        "--streams", nargs="+", metavar="NAME", help=f"of {', '.join(ENCODERS)} (default all)"
    )
    parser.add_argument("--download", action="store_true", help="fetch what is missing")
    return parser


def run(args: argparse.Namespace) -> str:
    streams = args.streams or list(ENCODERS)
    if unknown := [name for name in streams if name not in ENCODERS]:
        raise UserError(
            f"--streams: no encoder for {', '.join(unknown)}; known: {', '.join(ENCODERS)}"
        )
    folder = folder_of(args.weights_dir)
    if args.download:
        fetch(streams, folder)
    return listing(streams, folder)


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
