"""Holds off a second compaction of a ledger, which would take the plan of the first for that of a run that died. I/O.

A local directory is locked by the system, which lets go of it when the process ends, however it does. In S3 an object
is the lock, put on the condition that there is none. Whoever has it puts it again now and then; one that has not been
put for `LEASE_MS` is of a run that died, and the next takes it over, on the condition that it is still the same.

Source: Amazon S3 User Guide, "How to prevent object overwrites with conditional writes".
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from time import monotonic
from typing import Any, Final
from uuid import uuid4

from jobs.usage.store import LedgerStore, StoreError

LOCK: Final = "_compaction.lock"
LEASE_MS: Final = 600_000
_KEPT_AFTER_S: Final = 60.0
_TAKEN: Final = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "404"})


@contextmanager
def only_compaction(store: LedgerStore, lease_ms: int = LEASE_MS) -> Iterator[Callable[[], None]]:
    """A function to be called now and then that keeps the ledger for this compaction, and fails where it is lost.

    Raises:
        StoreError: There is no such ledger, or another compaction has it.
    """
    if not store.exists():
        message = f"{store.location}: no such ledger"
        raise StoreError(message)
    with _locked_directory(store) if store.is_local else _locked_in_s3(store, lease_ms) as keep:
        yield keep


@contextmanager
def _locked_directory(store: LedgerStore) -> Iterator[Callable[[], None]]:
    _, root = store.arrow()
    try:
        directory = os.open(root, os.O_RDONLY)
    except OSError as error:
        message = f"{store.location}: {error.strerror}"
        raise StoreError(message) from error
    try:
        _lock(directory, store.location)
        yield lambda: None
    finally:
        os.close(directory)


def _lock(directory: int, place: str) -> None:
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        message = f"{place}: another compaction is under way"
        raise StoreError(message) from None
    except OSError as error:
        message = f"{place}: {error.strerror}"
        raise StoreError(message) from error


@contextmanager
def _locked_in_s3(store: LedgerStore, lease_ms: int) -> Iterator[Callable[[], None]]:
    lock = _S3Lock(store)
    lock.take(lease_ms)
    try:
        yield lock.keep
    finally:
        lock.release()


class _S3Lock:
    """The object that is the lock."""

    def __init__(self, store: LedgerStore) -> None:
        import boto3

        _, root = store.arrow()
        bucket, _, prefix = root.partition("/")
        self._object = {"Bucket": bucket, "Key": f"{prefix}/{LOCK}".lstrip("/")}
        self._place = f"{store.location}/{LOCK}"
        self._client = boto3.client("s3", region_name=store.region, endpoint_url=store.endpoint_url)
        self._content = uuid4().hex.encode()  # which makes its ETag another than that of the one before
        self._etag = ""
        self._kept_s = 0.0

    def take(self, lease_ms: int) -> None:
        if self._put(IfNoneMatch="*"):
            return
        found = self._asked(self._client.head_object)
        if found is not None:
            now = parsedate_to_datetime(found["ResponseMetadata"]["HTTPHeaders"]["date"])
            over_at: datetime = found["LastModified"] + timedelta(milliseconds=lease_ms)
            if over_at > now:
                again = f"if it died, begin again after {over_at.astimezone(UTC):%H:%M:%S} UTC"
                message = f"{self._place}: another compaction is under way; {again}"
                raise StoreError(message)
        if not self._put(**({"IfNoneMatch": "*"} if found is None else {"IfMatch": found["ETag"]})):
            message = f"{self._place}: another compaction is under way"
            raise StoreError(message)

    def keep(self) -> None:
        """Put it again where that is due.

        Raises:
            StoreError: Another compaction has taken it over.
        """
        if monotonic() - self._kept_s > _KEPT_AFTER_S and not self._put(IfMatch=self._etag):
            message = f"{self._place}: another compaction took over, since this one stood still"
            raise StoreError(message)

    def release(self) -> None:
        found = self._asked(self._client.head_object)
        if found is not None and found["ETag"] == self._etag:
            self._asked(self._client.delete_object)

    def _put(self, **condition: str) -> bool:
        put = self._asked(self._client.put_object, Body=self._content, **condition)
        if put is None:
            return False
        self._etag, self._kept_s = put["ETag"], monotonic()
        return True

    def _asked(self, call: Callable[..., Any], **arguments: Any) -> Any:
        """What S3 answers, None where the condition does not hold or there is no such object."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return call(**self._object, **arguments)
        except ClientError as error:
            if error.response["Error"]["Code"] in _TAKEN:
                return None
            message = f"{self._place}: {error}"
            raise StoreError(message) from error
        except BotoCoreError as error:
            message = f"{self._place}: {error}"
            raise StoreError(message) from error
