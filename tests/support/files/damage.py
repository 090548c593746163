"""Ways in which a file comes to harm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

Damage = Callable[[Path], object]


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def cut_to_a_third(path: Path) -> None:
    """Cut off so much that no checksum is left."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 8
    path.write_bytes(data)


DAMAGES: list[Damage] = [empty, cut_short, cut_to_a_third, flip, Path.unlink]
