"""Which file system a path is on, as far as that decides how it may be used."""

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
    """The type of the network file system that `path` is on (or will be); None if it is on none we know of.

    None too where mounts cannot be read (not Linux).
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
        # The longest mount point above the path holds it; of equal ones the last, which covers the others.
        if len(mount) >= best and (place == mount or place.startswith(mount.rstrip("/") + "/")):
            best, found = len(mount), fields[2]
    return found if found in _NETWORK else None


def _unescape(field: str) -> str:
    """Blank, tab, newline and backslash are octal in this file."""
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, char)
    return field
