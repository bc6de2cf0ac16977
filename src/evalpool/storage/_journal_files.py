"""The files of a journal: records in lines, each with its length and checksum, appended by one writer.

A record is ``<crc32, 8 hexadecimal digits> <length> <JSON>\\n``. JSON text as we write it has no line break, so a
reader that meets a damaged record finds the next one behind the next line break; and the file can be read with
`less`.

What a reader may meet at the end of a file is a record that is still being written, or that its writer never
finished. It leaves such an end alone and looks again next time; once the writer is gone, it says so.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from zlib import crc32

from evalpool._clock import monotonic, unix_time
from evalpool.errors import StorageUnavailable
from evalpool.storage._codec import Reporter
from evalpool.storage._leases import owner_is_gone
from evalpool.storage._lost import CursorLost
from evalpool.storage._place import Place

__all__ = ["JournalReader", "JournalWriter", "Record", "file_name", "unavailable"]

SUFFIX = ".log"

SYNC_INTERVAL = 1.0
"""Seconds between flushes to the disk of a local file that is being written."""

_LONGEST_HEAD = 32
"""Bytes of a checksum, a length and their blanks, and more."""

ABANDONED_AFTER = 60.0
"""Seconds without a change after which an unfinished record will not be finished."""


def file_name(owner: str, which: int) -> str:
    """The name of a file that this owner writes: whose it is, and the how many-th."""
    return f"{owner.replace('/', ',')}~{which}{SUFFIX}"


def owner_of(name: str) -> str:
    """Whose file this is."""
    return name.removesuffix(SUFFIX).rpartition("~")[0].replace(",", "/")


def unavailable(error: OSError, path: str, doing: str) -> StorageUnavailable:
    """The error that says what the operating system refused, and what to do."""
    advice = {
        errno.ENOSPC: "the disk is full; free some space",
        errno.EDQUOT: "your quota is used up; free some space",
        errno.EFBIG: "the limit on the size of files is reached",
        errno.EACCES: "you may not write there; check the permissions",
        errno.EPERM: "the file system does not allow it; choose another directory",
        errno.EROFS: "the file system is read-only",
        errno.ENOENT: "the directory is gone",
        errno.ENOTDIR: "that is no directory",
        errno.ESTALE: "the file server has lost the file; was the directory removed?",
    }.get(error.errno or 0, os.strerror(error.errno or 0))
    return StorageUnavailable(f"{path}: cannot {doing}: {advice}.")


class JournalWriter:
    """The one writer of its files, of which the first is made with the first record. One thread at a time.

    A write that failed is taken back, and that file left: a reader may have read what was in it for a moment and
    stand behind its end, so nothing must ever be written there again. The next write makes the next file.
    """

    def __init__(self, directory: str, owner: str, *, sync_each: bool) -> None:
        self._directory = directory
        self._owner = owner
        self.which = 0  # of its files is the one that is being written
        self._sync_each = sync_each
        self._file: int | None = None
        self._end = 0
        self._synced = monotonic()

    def write(self, payloads: list[bytes]) -> tuple[int, int, int]:
        """Append these records, all or none; return to which file, and where in it they begin and end.

        Raises `StorageUnavailable`.
        """
        self.check_still_there()
        records = b"".join(b"%08x %d %s\n" % (crc32(payload), len(payload), payload) for payload in payloads)
        try:
            if self._file is None:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
                self._file = os.open(self.path, flags, 0o666)
                self._end = 0
                self._place = Place(self.path)
            self._write_all(self._file, records)
        except OSError as error:
            raise unavailable(error, self.path, f"write {len(records)} bytes") from error
        begin = self._end
        self._end += len(records)
        return self.which, begin, self._end

    @property
    def path(self) -> str:
        """Of the file that is being written."""
        return os.path.join(self._directory, file_name(self._owner, self.which))

    def _write_all(self, file: int, records: bytes) -> None:
        try:
            written = os.write(file, records)
            while written < len(records):  # a disk that fills up takes a part, and refuses the rest
                written += os.write(file, records[written:])
            now = monotonic()
            if self._sync_each or now - self._synced >= SYNC_INTERVAL:
                os.fdatasync(file)
                self._synced = now
        except BaseException:
            self._file = None
            self.which += 1
            try:
                os.ftruncate(file, self._end)
            finally:
                os.close(file)
            raise

    def check_still_there(self) -> None:
        """Raise `StorageUnavailable` if the path no longer names the file that is being written."""
        if self._file is not None:
            self._place.check(self._directory, self._end)

    def close(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            try:
                os.fdatasync(file)
            finally:
                os.close(file)


def _is_shorter(path: str, size: int, offset: int) -> CursorLost:
    return CursorLost(f"{path} has {size} bytes, and {offset} were read.")


Record = tuple[int, bytes]
"""Where a record begins in its file, and its payload."""


class JournalReader:
    """Reads the records of all writers behind a cursor of offsets, one a file. One thread at a time."""

    def __init__(self, directory: str, reporter: Reporter, *, reopen: bool) -> None:
        self._directory = directory
        self._reporter = reporter
        self._reopen = reopen

    def read(self, offsets: dict[str, int]) -> Iterator[tuple[str, list[Record]]]:
        """Yield each writer with its new records, and move `offsets` behind them."""
        try:
            names = os.listdir(self._directory)
        except FileNotFoundError:  # a journal without a record, on a read-only place, lacks it
            if not os.path.isdir(os.path.dirname(self._directory)):
                raise
            names = []
        gone = sorted(offsets.keys() - names) if offsets else []
        if gone:
            raise CursorLost(f"{self._directory} no longer holds {gone[0]}, of which records were read.")
        for name in sorted(names):
            if not name.endswith(SUFFIX):
                continue
            path = os.path.join(self._directory, name)
            offset = offsets.get(name, 0)
            # A network client learns what others wrote when it opens a file, so there is no asking before.
            if not self._reopen and (size := os.stat(path).st_size) <= offset:
                if size < offset:
                    raise _is_shorter(path, size, offset)
                continue
            with open(path, "rb", buffering=0, opener=_without_waiting) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    self._reporter.report(path, "it is no regular file")
                    continue
                file.seek(offset)
                data = file.read()
                found = os.fstat(file.fileno())
            if found.st_size < offset:
                raise _is_shorter(path, found.st_size, offset)
            if not data:
                continue
            records, end = self._split(path, offset, data)
            yield name, records
            offsets[name] = end
            if end < offset + len(data) and self._is_abandoned(name, found.st_mtime):
                rest = offset + len(data) - end
                self._reporter.report(f"{path}, byte {end}", f"its last {rest} bytes are no whole record")

    def _split(self, path: str, offset: int, data: bytes) -> tuple[list[Record], int]:
        """The whole records, and where the last of them ends."""
        records: list[Record] = []
        lines = data.split(b"\n")
        del lines[-1]  # what follows the last line break is no whole record
        position = offset
        try:
            for line in lines:
                blank = line.index(b" ", 9)
                payload = line[blank + 1 :]
                if int(line[:8], 16) != crc32(payload) or int(line[8:blank]) != len(payload):
                    return self._split_damaged(path, offset, data)
                records.append((position, payload))
                position += len(line) + 1
        except ValueError:
            return self._split_damaged(path, offset, data)
        return records, position

    def _split_damaged(self, path: str, offset: int, data: bytes) -> tuple[list[Record], int]:
        """As `_split`, where something is not as it was written."""
        records: list[Record] = []
        damaged: list[int] = []
        start = end = 0
        while (line_end := data.find(b"\n", start)) >= 0:
            # Its line break may be what is damaged: then the next record begins behind it.
            found, length = _begins_with(data[start:line_end])
            line_end = start + length
            if found is None:
                damaged.append(offset + start)
            else:
                # Behind damage comes a whole record, so this is not the end that someone is still writing.
                for position in damaged:
                    self._reporter.report(f"{path}, byte {position}", "its length or checksum is wrong")
                damaged.clear()
                records.append((offset + start, found))
                end = line_end + 1
            start = line_end + 1
        return records, offset + end

    def _is_abandoned(self, name: str, changed: float) -> bool:
        return owner_is_gone(owner_of(name)) or unix_time() - changed > ABANDONED_AFTER


def _without_waiting(path: str, flags: int) -> int:
    """Open a file that somebody may have replaced by a pipe, to which nobody writes."""
    return os.open(path, flags | os.O_NONBLOCK)


def _begins_with(line: bytes) -> tuple[bytes | None, int]:
    """The payload of the record that the line begins with, and where that ends; None and its end if with none."""
    head = line[:_LONGEST_HEAD].split(b" ", 2)
    if len(head) == 3 and head[1].isdigit() and len(head[1]) <= 18:
        start = len(head[0]) + len(head[1]) + 2
        end = start + int(head[1])
        payload = line[start:end]
        if len(line) >= end and head[0] == b"%08x" % crc32(payload):
            return payload, end
    return None, len(line)
