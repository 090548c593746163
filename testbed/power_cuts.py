"""A disk whose power is cut at any moment: copies of it, as each cut would leave it, are mounted later.

    cut disk        ext4 with a lab's own options, in an image file on a loop device, mounted at `path`
    image file      on a btrfs, itself in an image file on a loop device
    a cut           a clone of the image file (FICLONE), taken while the disk is written

A clone is taken under the lock that each write to the image takes, so it holds every write that the loop
device had completed and nothing of a later one. Stopping the writers and copying the file would not do: the
kernel goes on writing their pages and its journal under the copy. What a drive loses of its own volatile
cache is not simulated: ext4 is trusted to order its writes by flushes.

Needs root, a kernel with loop devices, ext4 and btrfs, and Debian's `e2fsprogs` and `btrfs-progs`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

PROGRAMS = ("mkfs.ext4", "e2fsck", "mkfs.btrfs", "mount", "umount")
FICLONE = 0x40049409  # of linux/fs.h
BUSY_SECONDS = 5.0  # for the last process that had a file open to be gone


class CutDisk:
    """A file system that is mounted at `path`, and what cuts of its power left of it."""

    def __init__(self, path: Path, image: Path) -> None:
        """For `cut_disk` to call."""
        self.path, self._image, self._cuts = path, image, 0

    def cut(self) -> Path:
        """Take the disk as a cut of power at this moment would leave it; whoever writes it goes on."""
        copy = self._image.with_name(f"cut-{self._cuts}.img")
        self._cuts += 1
        with self._image.open("rb") as source, copy.open("wb") as target:
            fcntl.ioctl(target, FICLONE, source.fileno())
        return copy

    def sync(self) -> None:
        """Bring all that was written to the disk, as hours without a cut would."""
        _run("sync", "--file-system", str(self.path))

    def power_on(self, copy: Path) -> None:
        """Mount what a cut left in the place of what is mounted there; ext4 replays its journal.

        Nobody may have a file of the disk open.
        """
        _unmount(self.path)
        _mount(copy, self.path)

    def check(self, copy: Path) -> None:
        """Unmount this copy and raise CalledProcessError if the file system is not sound."""
        _unmount(self.path)
        _run("e2fsck", "-fn", str(copy))


@contextmanager
def cut_disk(folder: Path, size: int = 2**30) -> Iterator[CutDisk]:
    """Make a disk of so many bytes in an empty folder; in the end it is unmounted and deleted.

    Its image files are sparse: of the disk that the folder is on they take what is written, and what each
    cut left.
    """
    lower, path = folder / "lower", folder / "disk"
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        _sparse(folder / "lower.img", 8 * size)
        _run("mkfs.btrfs", "--quiet", str(folder / "lower.img"))
        # It need not outlive a crash itself, and every flush of the disk would wait for its own flushes.
        _mounted(stack, folder / "lower.img", lower, "loop,nobarrier")
        _sparse(lower / "disk.img", size)
        _run("mkfs.ext4", "-q", str(lower / "disk.img"))
        _mounted(stack, lower / "disk.img", path)
        yield CutDisk(path, lower / "disk.img")


def _sparse(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size)


def _mounted(stack: ExitStack, image: Path, path: Path, options: str = "loop") -> None:
    path.mkdir()
    stack.callback(_let_go, path)  # before it is mounted: an interrupt may come in between
    _mount(image, path, options)


def _mount(image: Path, path: Path, options: str = "loop") -> None:
    _run("mount", "-o", options, str(image), str(path))


def _unmount(path: Path) -> None:
    """Unmount what is mounted here, if anything is; its loop device is detached by the kernel."""
    until = time.monotonic() + BUSY_SECONDS
    while os.path.ismount(path):
        try:
            _run("umount", str(path))
        except subprocess.CalledProcessError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def _let_go(path: Path) -> None:
    """Unmount at any price: whoever still has a file of it open keeps the device until it is closed."""
    try:
        _unmount(path)
    except subprocess.CalledProcessError:
        with suppress(subprocess.CalledProcessError):
            _run("umount", "--lazy", str(path))


def _run(*words: str) -> None:
    """Run a program in a session of its own, so that Ctrl-C ends it only after what it has begun."""
    ran = subprocess.run(words, capture_output=True, text=True, start_new_session=True)
    if ran.returncode:
        error = subprocess.CalledProcessError(ran.returncode, words, ran.stdout, ran.stderr)
        error.add_note(ran.stderr.strip() or ran.stdout.strip())
        raise error
