"""Files of results: whether one may be written, and writing it so that no reader sees it half written."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterable
from pathlib import Path

from evalpool._files import name_file, replacing
from evalpool.errors import BadArgument

__all__ = ["GONE", "append_text", "check_path", "replace_file"]


LONGEST_NAME = 230
"""Bytes of a file's name; the files beside it, such as the draft that will replace it, have longer ones, up to 255."""


def check_path(path: str | os.PathLike[str]) -> Path:
    """Return the absolute path of a file that is about to be written; symbolic links resolved."""
    try:
        target = Path(path).expanduser().resolve()
    except TypeError:
        raise BadArgument(f"path is {path!r} of type {type(path).__name__}; give a file name.") from None
    directory = target.parent
    if not directory.is_dir():
        raise BadArgument(f"No directory {str(directory)!r} for {str(path)!r}; make it first.")
    if target.is_dir():
        raise BadArgument(f"{str(path)!r} is a directory; give a file in it, such as {str(target / 'results.csv')!r}.")
    if target.exists() and not target.is_file():
        raise BadArgument(f"{str(path)!r} is not a regular file; give another name.")
    if (length := len(os.fsencode(target.name))) > LONGEST_NAME:
        raise BadArgument(f"The name of {str(path)!r} has {length} bytes; give one of at most {LONGEST_NAME}.")
    if not os.access(directory, os.W_OK):
        raise BadArgument(f"The directory {str(directory)!r} is not writable; choose another for {target.name!r}.")
    return target


GONE = (errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.ESPIPE)
"""Errors of `append_text` where the file is gone: it was removed, emptied, or replaced by a link or a pipe."""


def append_text(path: Path, text: str, least: int = 0) -> int:
    """Add `text` in one write, or leave the file as it was; return its size in bytes.

    Raises `OSError` with a number of `GONE` if there is no such file, or one of less than `least` bytes.
    """
    data = text.encode("utf-8", "backslashreplace")
    # Not with a file object, which costs more than the write itself. Without waiting for the reader of a pipe.
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | getattr(os, "O_NOFOLLOW", 0))
    try:
        size = os.lseek(file, 0, os.SEEK_END)
        if size < least:
            raise FileNotFoundError(errno.ENOENT, f"it has {size} bytes instead of {least}", str(path))
        written = 0
        try:
            while written < len(data):  # a disk that becomes full takes a part first, and then raises
                written += os.write(file, data[written:])
        except BaseException as error:
            os.ftruncate(file, size)
            name_file(error, path)
            raise
        return size + len(data)
    finally:
        os.close(file)


def replace_file(path: Path, header: str, *parts: Iterable[str]) -> None:
    """Write header and lines to a new file, and replace `path` by it in one step."""
    with replacing(path, sync=True) as raw:
        file = io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", newline="")
        file.write(header)
        for lines in parts:
            file.writelines(lines)
        file.flush()
        file.detach()
