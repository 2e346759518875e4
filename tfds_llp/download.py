"""Downloads the annotation files from their public GitHub folder, and verifies their checksums.

TFDS's download manager is not used: without a network it retries for minutes, and it leaves
unfinished folders behind.
"""

import hashlib
from pathlib import Path

import requests
import tensorflow_datasets as tfds

from avvp_jax.errors import UserError, cause
from tfds_llp.disk import refuse_unwritable

ANNOTATIONS_URL = "https://raw.githubusercontent.com/YapengTian/AVVP-ECCV20/master/data/"
_TIMEOUT_SECONDS = 30

UrlInfos = dict[str, tfds.download.checksums.UrlInfo]


def recorded_digests(names: tuple[str, ...], url_infos: UrlInfos) -> dict[str, str]:
    """Name -> the SHA-256 of the published file."""
    return {name: url_infos[ANNOTATIONS_URL + name].checksum for name in names}


def download_annotations(
    names: tuple[str, ...], folder: Path, url_infos: UrlInfos
) -> dict[str, Path]:
    """Downloads files to `folder`, unless all are there already.

    Args:
        names: names of files below `ANNOTATIONS_URL`.
        folder: made if needed; written only after every file is downloaded and verified.
        url_infos: URL -> size and SHA-256, as TFDS reads them from checksums.tsv.

    Returns:
        The path of each file.

    Raises:
        UserError: a file cannot be downloaded, or differs from its recorded checksum.
    """
    paths = {name: folder / name for name in names}
    expected = {name: url_infos[ANNOTATIONS_URL + name] for name in names}
    if all(_is_right(path, expected[name]) for name, path in paths.items()):
        return paths
    refuse_unwritable(folder, needed=0)
    contents = {name: _fetch(ANNOTATIONS_URL + name, info) for name, info in expected.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, path in paths.items():
            path.write_bytes(contents[name])
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({cause(error)})") from error
    return paths


def _fetch(url: str, expected: tfds.download.checksums.UrlInfo) -> bytes:
    content = bytearray()
    try:
        with requests.get(url, stream=True, timeout=_TIMEOUT_SECONDS) as response:
            response.raise_for_status()
            for block in response.iter_content(1 << 16):
                content += block
                if len(content) > expected.size:
                    break
    except requests.RequestException as error:
        reason = type(error).__name__ if error.response is None else cause(error)
        raise UserError(
            f"{url}: cannot be downloaded ({reason}); put all AVVP_*.csv beside the features"
        ) from error
    if _checksum(content) != expected.checksum:
        raise UserError(
            f"{url}: differs from the recorded checksum; put all AVVP_*.csv beside the features"
        )
    return bytes(content)


def _is_right(path: Path, expected: tfds.download.checksums.UrlInfo) -> bool:
    return path.is_file() and _checksum(path.read_bytes()) == expected.checksum


def _checksum(content: bytes | bytearray) -> str:
    return hashlib.sha256(content).hexdigest()
