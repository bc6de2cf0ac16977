"""Tells whether a path is on a network file system, on which SQLite is not safe and files are read differently."""

from __future__ import annotations

import os

__all__ = ["network_file_system"]

MOUNTS = "/proc/self/mounts"

_NETWORK = frozenset(
    [
        *("afs", "beegfs", "ceph", "cifs", "davfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4"),
        *("ocfs2", "orangefs", "panfs", "pvfs2", "smb2", "smb3", "smbfs", "wekafs"),
        *("fuse.beegfs", "fuse.ceph", "fuse.davfs2", "fuse.gcsfuse", "fuse.glusterfs", "fuse.juicefs"),
        *("fuse.rclone", "fuse.s3fs", "fuse.sshfs"),
    ]
)


def network_file_system(path: str) -> str | None:
    """Return the type of the network file system that `path` is on, or will be once it is made.

    None if it is on no known network file system, or if mounts cannot be read (on other systems than Linux).
    """
    try:
        with open(MOUNTS, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except OSError:
        return None
    place = os.path.realpath(path)
    best, found = -1, ""
    for line in lines:
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        mount = _unescape(fields[1])
        # The path is on the longest mount point above it; of several at the same path, the last hides the others.
        if len(mount) >= best and (place == mount or place.startswith(mount.rstrip("/") + "/")):
            best, found = len(mount), fields[2]
    return found if found in _NETWORK else None


def _unescape(field: str) -> str:
    """Return the field with its octal codes replaced: the file has them for blank, tab, newline and backslash."""
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, char)
    return field
