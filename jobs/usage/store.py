"""The place that a ledger is kept in: a local directory, or a prefix in S3. I/O.

A file appears whole or not at all: locally it is written under a hidden name and renamed, and S3 shows an object only
once all of it is there.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import environ
from pathlib import Path, PurePosixPath
from typing import Any, Final
from uuid import uuid4

import pyarrow
from pyarrow import fs

_S3: Final = "s3://"
_HIDDEN: Final = (".", "_")
_MOST_ATTEMPTS: Final = 6


class StoreError(Exception):
    """A ledger cannot be read or written; the message names what and says what is the matter."""


class LedgerStore:
    """Files below a directory or a prefix, by their paths in it.

    Args:
        location: A local directory, or `s3://bucket/prefix`, whose credentials are those of any AWS client.
        region: Of the bucket; None leaves it to the environment, `AWS_REGION`.
        endpoint_url: Of S3; None leaves it to the environment, `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`.

    Attributes:
        region: As it was given, or as the environment says.
        endpoint_url: As well.

    Raises:
        StoreError: The location is not one.
    """

    def __init__(self, location: str, region: str | None = None, endpoint_url: str | None = None) -> None:
        root = location.removeprefix(_S3).rstrip("/")
        self.location = _S3 + root if location.startswith(_S3) else root or "/"
        self.region = region or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
        self.endpoint_url = endpoint_url or environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL")
        with told_as_store_error(location):
            self._files, self._root = _opened(self.location, self.region, self.endpoint_url)

    @property
    def is_local(self) -> bool:
        """Whether it is a local directory."""
        return not self.location.startswith(_S3)

    def arrow(self) -> tuple[Any, str]:
        """The file system of pyarrow that it is in, and where."""
        return self._files, self._root

    def exists(self) -> bool:
        """Whether there is such a directory, or anything below the prefix."""
        with told_as_store_error(self.location):
            return self._files.get_file_info(self._root).type is not fs.FileType.NotFound

    def has(self, path: str) -> bool:
        """Whether there is such a file."""
        with told_as_store_error(f"{self.location}/{path}"):
            return self._files.get_file_info(self._at(path)).type is fs.FileType.File

    def paths(self, *, hidden: bool = False) -> list[str]:
        """The paths of all files, sorted; of those under a hidden name, as readers pass them over, only if asked."""
        # Asked first, because pyarrow fails to list a directory that comes to be meanwhile.
        if not self.exists():
            return []
        with told_as_store_error(self.location):
            infos = self._files.get_file_info(fs.FileSelector(self._root, recursive=True, allow_not_found=True))
        # What pyarrow lists has the root as it wrote it.
        root = str(PurePosixPath(self._root))
        found = (info.path[len(root) :].lstrip("/") for info in infos if info.type is fs.FileType.File)
        return sorted(path for path in found if hidden or not _is_hidden(path))

    def read(self, path: str) -> bytes:
        """The bytes of a file.

        Raises:
            StoreError: There is none.
        """
        with told_as_store_error(f"{self.location}/{path}"), self._files.open_input_stream(self._at(path)) as file:
            content: bytes = file.read()
            return content

    def read_if_there(self, path: str) -> bytes | None:
        """The bytes of a file that may go away at any moment, None where there is none."""
        # Of one that goes away between two requests pyarrow tells that S3 failed.
        for _ in range(_MOST_ATTEMPTS):
            if not self.has(path):
                return None
            with suppress(StoreError):
                return self.read(path)
        return self.read(path)

    def write(self, path: str, content: bytes) -> None:
        """Put a file in place, whole, in place of an earlier one.

        Raises:
            StoreError: It cannot be written.
        """
        target = PurePosixPath(self._at(path))
        with told_as_store_error(f"{self.location}/{path}"):
            if not self.is_local:
                self._write(str(target), content)
                return
            self._files.create_dir(str(target.parent), recursive=True)
            hidden = str(target.with_name(f".{target.name}.{uuid4().hex}"))
            try:
                self._write(hidden, content)
                self._files.move(hidden, str(target))
            except BaseException:
                if self._files.get_file_info(hidden).type is fs.FileType.File:
                    self._files.delete_file(hidden)
                raise

    def remove(self, path: str) -> None:
        """Remove a file; nothing where there is none."""
        with told_as_store_error(f"{self.location}/{path}"), suppress(FileNotFoundError):
            self._files.delete_file(self._at(path))

    def open_file(self, path: str) -> Any:
        """A file to read from at any place.

        Raises:
            StoreError: There is none.
        """
        with told_as_store_error(f"{self.location}/{path}"):
            return self._files.open_input_file(self._at(path))

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _write(self, at: str, content: bytes) -> None:
        with self._files.open_output_stream(at) as file:
            file.write(content)


def absolute_location(location: str) -> str:
    """The same location for processes with other working directories."""
    return location if location.startswith(_S3) else str(Path(location).absolute())


def _opened(location: str, region: str | None, endpoint_url: str | None) -> tuple[Any, str]:
    if not location.startswith(_S3):
        return fs.LocalFileSystem(), absolute_location(location)
    root = location.removeprefix(_S3)
    if not root or root.startswith("/"):
        message = "names no bucket"
        raise OSError(message)
    # A job that writes can wait a while sooner than begin again from its checkpoint.
    retries = fs.AwsStandardS3RetryStrategy(max_attempts=_MOST_ATTEMPTS)
    return fs.S3FileSystem(endpoint_override=endpoint_url, region=region, retry_strategy=retries), root


def _is_hidden(path: str) -> bool:
    return any(part.startswith(_HIDDEN) for part in path.split("/"))


@contextmanager
def told_as_store_error(place: str) -> Iterator[None]:
    """Whatever goes wrong with files, as a `StoreError` that names the place."""
    try:
        yield
    except (OSError, pyarrow.ArrowException) as error:
        said = getattr(error, "strerror", None) or str(error).partition(". Detail:")[0]
        message = f"{place}: {said}"
        raise StoreError(message) from error
