"""Reads and writes the files of a journal: one record per line, with its length and checksum, appended by one writer.

A record is ``<crc32, 8 hexadecimal digits> <length> <JSON>\\n``. The JSON text that evalpool writes has no line breaks,
so after a damaged record a reader finds the next one after the next line break, and people can read the file with
`less`.

At the end of a file there may be an incomplete record, which is still being written, or whose writer was killed. A
reader leaves it and tries again at the next read. Once the writer has ended, the incomplete record is reported.
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

__all__ = ["JournalReader", "JournalWriter", "Record", "file_name", "unavailable", "without_waiting"]

SUFFIX = ".log"

SYNC_INTERVAL = 1.0
"""Seconds between flushes to the disk of a local file, while it is written."""

_LONGEST_HEAD = 32
"""Bytes that surely hold a checksum, a length and the blanks after them."""

_NO_FILES = (errno.ENOENT, errno.ELOOP, errno.EISDIR, errno.ENXIO)
"""Errors at opening a link to nothing, a directory, or a socket, which have no records of ours."""

ABANDONED_AFTER = 60.0
"""Seconds without a change after which an incomplete record counts as abandoned."""


def file_name(owner: str, which: int) -> str:
    """Return the name of a file of this owner; `which` counts its files from 0."""
    return f"{owner.replace('/', ',')}~{which}{SUFFIX}"


def owner_of(name: str) -> str:
    """Return the owner that writes the file with this name."""
    return name.removesuffix(SUFFIX).rpartition("~")[0].replace(",", "/")


def unavailable(error: OSError, path: str, doing: str) -> StorageUnavailable:
    """Return an error that says what the operating system refused, and what to do."""
    advice = {
        errno.ENOSPC: "the disk is full; free some space",
        errno.EDQUOT: "your quota is used up; free some space",
        errno.EFBIG: "the limit on the size of files is reached",
        errno.EACCES: "you are not allowed to; check the permissions",
        errno.EPERM: "the file system does not allow it; choose another directory",
        errno.EROFS: "the file system is read-only",
        errno.ENOENT: "the directory is gone",
        errno.ENOTDIR: "that is no directory",
        errno.ESTALE: "the file server has lost the file; was the directory removed?",
    }.get(error.errno or 0, os.strerror(error.errno or 0))
    return StorageUnavailable(f"{path}: cannot {doing}: {advice}.")


class JournalWriter:
    """The only writer of its files. The first file is made with the first record. One thread at a time.

    If a write fails, the file is cut back to its length before, and is never written again: a reader may already have
    read a part of what was cut, and its cursor then points behind the end. The next write makes a new file.
    """

    def __init__(self, directory: str, owner: str, *, sync_each: bool) -> None:
        self._directory = directory
        self._owner = owner
        self.which = 0  # the number of the file that is written now
        self._sync_each = sync_each
        self._file: int | None = None
        self._end = 0
        self._synced = monotonic()

    def write(self, payloads: list[bytes]) -> tuple[int, int, int]:
        """Append these records, all or none. Return the number of the file, and the offsets where they begin and end.

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
        """The path of the file that is written now."""
        return os.path.join(self._directory, file_name(self._owner, self.which))

    def _write_all(self, file: int, records: bytes) -> None:
        try:
            written = os.write(file, records)
            while written < len(records):  # a disk that becomes full takes a part, and refuses the rest
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
        """Raise `StorageUnavailable` if the file at the path is no longer the one that is written."""
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
    return CursorLost(f"{path} has {size} bytes, but {offset} bytes of it were read before.")


Record = tuple[int, bytes]
"""The offset of a record in its file, and its payload."""


class JournalReader:
    """Reads the records of all writers after a cursor: an offset for each file. One thread at a time."""

    def __init__(self, directory: str, reporter: Reporter, *, reopen: bool) -> None:
        self._directory = directory
        self._reporter = reporter
        self._reopen = reopen

    def read(self, offsets: dict[str, int]) -> Iterator[tuple[str, list[Record]]]:
        """Yield the name of each file with its new records, and set `offsets` to the ends of these records."""
        try:
            names = os.listdir(self._directory)
        except FileNotFoundError:  # a read-only copy of a journal without records may lack this directory
            if not os.path.isdir(os.path.dirname(self._directory)):
                raise
            names = []
        gone = sorted(offsets.keys() - names) if offsets else []
        if gone:
            raise CursorLost(f"{self._directory} no longer holds the file {gone[0]}, from which records were read.")
        for name in sorted(names):
            if not name.endswith(SUFFIX):
                continue
            path = os.path.join(self._directory, name)
            offset = offsets.get(name, 0)
            try:
                data, changed = self._data(path, offset)
            except OSError as error:
                if offset or error.errno not in _NO_FILES:
                    raise
                self._reporter.report(path, "it is not a regular file")
                continue
            except MemoryError:
                raise StorageUnavailable(f"{path}: there is not enough memory to read it; is it damaged?") from None
            if not data:
                continue
            records, end = self._split(path, offset, data)
            yield name, records
            offsets[name] = end
            if end < offset + len(data) and self._is_abandoned(name, changed):
                rest = offset + len(data) - end
                self._reporter.report(f"{path}, byte {end}", f"its last {rest} bytes are not a complete record")

    def _data(self, path: str, offset: int) -> tuple[bytes, float]:
        """Return what a file has behind the offset, and when the file was changed."""
        # A client of a network file system sees what others wrote only once it opens the file: `stat` is too early.
        if not self._reopen and (size := os.stat(path).st_size) <= offset:
            if size < offset:
                raise _is_shorter(path, size, offset)
            return b"", 0.0
        with open(path, "rb", buffering=0, opener=without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(errno.ENXIO, "not a regular file", path)
            file.seek(offset)
            data = file.read()
            found = os.fstat(file.fileno())
        if found.st_size < offset:
            raise _is_shorter(path, found.st_size, offset)
        return data, found.st_mtime

    def _split(self, path: str, offset: int, data: bytes) -> tuple[list[Record], int]:
        """Return the complete records, and the offset where the last of them ends."""
        records: list[Record] = []
        lines = data.split(b"\n")
        del lines[-1]  # the text after the last line break is not a complete record
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
        """Do what `_split` does for data in which something is damaged."""
        records: list[Record] = []
        damaged: list[int] = []
        start = end = 0
        while (line_end := data.find(b"\n", start)) >= 0:
            # The line break itself may be damaged. Then the line holds two records.
            found, length = _begins_with(data[start:line_end])
            line_end = start + length
            if found is None:
                damaged.append(offset + start)
            else:
                # A complete record follows the damage, so the damage is not a record that is still being written.
                for position in damaged:
                    self._reporter.report(f"{path}, byte {position}", "its length or checksum is wrong")
                damaged.clear()
                records.append((offset + start, found))
                end = line_end + 1
            start = line_end + 1
        return records, offset + end

    def _is_abandoned(self, name: str, changed: float) -> bool:
        return owner_is_gone(owner_of(name)) or unix_time() - changed > ABANDONED_AFTER


def without_waiting(path: str, flags: int) -> int:
    """Open a file without blocking, since somebody may have replaced it by a pipe that nobody writes to."""
    return os.open(path, flags | os.O_NONBLOCK)


def _begins_with(line: bytes) -> tuple[bytes | None, int]:
    """Return the payload of the record that the line begins with, and the index of its end.

    Returns None and the length of the line if it does not begin with a record.
    """
    head = line[:_LONGEST_HEAD].split(b" ", 2)
    if len(head) == 3 and head[1].isdigit() and len(head[1]) <= 18:
        start = len(head[0]) + len(head[1]) + 2
        end = start + int(head[1])
        payload = line[start:end]
        if len(line) >= end and head[0] == b"%08x" % crc32(payload):
            return payload, end
    return None, len(line)
