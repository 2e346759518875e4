"""Downloads a file, which is known by the beginning of its SHA-256 where one is published.

The file appears whole or not at all. What came before a connection broke is kept beside it, as
NAME.partial, and the next attempt goes on from there.
"""

import hashlib
import os
import re

import requests
from tqdm import tqdm

from avvp_jax.errors import UserError, cause
from avvp_jax.storage.locks import lock
from avvp_jax.storage.stand_ins import BEGINNING, stand_in

SECONDS = 30  # without an answer, or a byte, until an attempt ends
ATTEMPTS = 4  # in a row that bring nothing
_BLOCK = 1 << 16  # bytes; what a broken connection loses at most
_BROKEN = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
)


def sha256_of(path: str) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(url: str, path: str, sha256: str) -> None:
    """Downloads `url` to `path`, with a progress bar.

    Args:
      sha256: the beginning of the file's SHA-256; empty if that is not known. Then a web page or
        the like is refused, and nothing else.

    Raises:
      UserError: there is no such file, no connection, another file, or no room for it.
    """
    partial = f"{path}.partial"
    try:
        with lock(f"{path}.lock", f"{path}: {{}} is downloading it; wait for that"):
            resumed = os.path.exists(partial) and os.path.getsize(partial) > 0
            _fetch(url, partial)
            if resumed and not _is_whole(partial, sha256):
                # It may have been of another file. Try once from its beginning.
                os.remove(partial)
                _fetch(url, partial)
            _refuse_other(url, partial, sha256)
            os.replace(partial, path)
    except requests.RequestException as error:
        raise UserError(
            f"{url}: cannot be downloaded ({_cause(error)}); start the command again, or put the "
            f"file at {path} by other means"
        ) from error
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({cause(error)}); choose another place") from (
            error
        )


def _is_whole(partial: str, sha256: str) -> bool:
    return sha256_of(partial).startswith(sha256)


def _refuse_other(url: str, partial: str, sha256: str) -> None:
    """Removes a file that is not the one asked for, and says what it is."""
    found = sha256_of(partial)
    if sha256 and found.startswith(sha256):
        return
    with open(partial, "rb") as file:
        problem = stand_in(url, file.read(BEGINNING))
    if not sha256 and not problem:
        return
    os.remove(partial)
    if problem:
        raise UserError(f"{url}: what came {problem}")
    raise UserError(
        f"{url}: what came has a SHA-256 that begins with {found[: len(sha256)]}, not {sha256}, "
        "and was removed; start the command again, or get the file by other means"
    )


def _fetch(url: str, partial: str) -> None:
    """Downloads to `partial`, from its end on; tries again as long as something comes."""
    failures = 0
    while True:
        before = _size(partial)
        try:
            _fetch_once(url, partial)
            return
        except (
            requests.ConnectionError,
            requests.Timeout,
            requests.exceptions.ChunkedEncodingError,
        ):
            failures = 0 if _size(partial) > before else failures + 1
            if failures == ATTEMPTS:
                raise


def _size(path: str) -> int:
    return os.path.getsize(path) if os.path.exists(path) else 0


def _fetch_once(url: str, partial: str) -> None:
    start = _size(partial)
    # Compressed, a file could not be resumed.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    with requests.get(url, headers=headers, stream=True, timeout=SECONDS) as answer:
        if answer.status_code == 416:  # there is nothing after `start`
            return
        if not answer.ok:
            raise requests.HTTPError(f"{answer.status_code} {answer.reason}")
        if answer.status_code != 206 or not _goes_on(answer, start):
            start = 0
        total = answer.headers.get("Content-Length", "")
        total = start + int(total) if total.isdigit() else None
        with (
            open(partial, "ab" if start else "wb") as file,
            tqdm(
                total=total,
                initial=start,
                unit="B",
                unit_scale=True,
                desc=os.path.basename(partial).removesuffix(".partial"),
            ) as bar,
        ):
            for block in answer.iter_content(_BLOCK):
                file.write(block)
                bar.update(len(block))


def _goes_on(answer: requests.Response, start: int) -> bool:
    """Whether an answer begins where it should."""
    begins = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    return begins is not None and int(begins[1]) == start


def _cause(error: requests.RequestException) -> str:
    """What went wrong, without the addresses of objects that urllib3 puts there."""
    said = re.search(r"\[Errno -?\d+\] ([^'\")]+)", str(error))
    return said[1] if said else cause(error)
