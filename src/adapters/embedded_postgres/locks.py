"""Locks that the kernel drops however their holder ends."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path


def open_file(file: Path) -> int:
    """Open a file for locking or appending; where it is new, it belongs to the owner of its folder."""
    opened = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    if os.geteuid() == 0:
        owner = file.parent.stat()
        os.fchown(opened, owner.st_uid, owner.st_gid)
    return opened


def try_lock(file: int) -> bool:
    with suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def unlock(file: int) -> None:
    fcntl.flock(file, fcntl.LOCK_UN)  # to close is not enough while a forked child holds a copy of the descriptor
    os.close(file)
