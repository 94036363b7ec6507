"""Files that are downloaded once, checked and kept."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import httpx
import tenacity

from pgkd.exceptions import DatasetNotFoundError
from pgkd.system.files import replace_file


@dataclass(frozen=True)
class RemoteFile:
    """A file at an address.

    Attributes
    ----------
    name : str
        What it is called in the folder where it is kept.
    url : str
    sha256 : str
        Of the only content that is used.
    """

    name: str
    url: str
    sha256: str


def fetch(
    file: RemoteFile, folder: Path, download_if_missing: bool, n_retries: int, delay: float
) -> bytes:
    """Return the content of a file: that in the folder if it is the right one, else downloaded.

    Raises
    ------
    DatasetNotFoundError
    """
    path = folder / file.name
    try:
        content = path.read_bytes()
        problem = _check(content, file)
        if problem is None:
            return content
    except FileNotFoundError:
        problem = "is not there"
    except OSError as error:
        problem = f"cannot be read ({error})"
    if not download_if_missing:
        raise DatasetNotFoundError(
            f"{str(path)!r} {problem}, and `download_if_missing` is False: set it to True, or save "
            f"{file.url} there."
        )
    content = _download(file, path, n_retries, delay)
    try:
        replace_file(path, content)
    except OSError as error:
        raise DatasetNotFoundError(
            f"Cannot keep {file.name} in {str(folder)!r} ({error}): pass another `data_home`."
        ) from error
    return content


def _download(file: RemoteFile, path: Path, n_retries: int, delay: float) -> bytes:
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(_may_pass),
        stop=tenacity.stop_after_attempt(n_retries + 1),
        wait=tenacity.wait_fixed(delay),
        reraise=True,
    )
    try:
        content = retrying(_get, file.url)
    except httpx.HTTPError as error:
        reason = str(error).partition("\n")[0]
        raise DatasetNotFoundError(
            f"{file.url} cannot be downloaded ({type(error).__name__}: {reason}). Check the "
            f"network and its proxy, or save the file as {str(path)!r} yourself."
        ) from None
    if problem := _check(content, file):
        raise DatasetNotFoundError(
            f"What {file.url} sends {problem}: it was changed there or on its way, and is not "
            "used. Check whether a proxy answers in its place."
        )
    return content


def _check(content: bytes, file: RemoteFile) -> str | None:
    """Say what is wrong with a content, if anything is."""
    found = hashlib.sha256(content).hexdigest()
    return None if found == file.sha256 else f"has the SHA-256 {found} instead of {file.sha256}"


def _get(url: str) -> bytes:
    # As it was sent: the SHA-256 is that of the file, whatever encoding a server says it has.
    headers = {"Accept-Encoding": "identity"}
    with httpx.stream("GET", url, headers=headers, follow_redirects=True, timeout=30) as response:
        response.raise_for_status()
        return b"".join(response.iter_raw())


def _may_pass(error: BaseException) -> bool:
    """Whether another try may help."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code == 429 or error.response.is_server_error
    return isinstance(error, httpx.TransportError)
