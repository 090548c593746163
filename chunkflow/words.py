"""Quantities and names as people write and read them: durations, boxes, voxel sizes, names of layers."""

from __future__ import annotations

import html
import re
from collections.abc import Container, Iterable, Sequence

from chunkflow.errors import BadInput
from chunkflow.geometry import Box, VoxelSize, vec

NANOMETRES = {"nm": 1.0, "um": 1000.0, "µm": 1000.0, "μm": 1000.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(min|h|d|)")
_SECONDS = {"min": 60.0, "h": 3600.0, "": 3600.0, "d": 86400.0}


def in_words(seconds: float) -> str:
    """A duration as people write it: 4.2 s, 3 min 20 s, 2 h 5 min."""
    if round(seconds) < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def counted(count: int, what: str) -> str:
    """1 chunk, 2 chunks, 1,000 chunks."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def shortened(text: str, most: int = 200) -> str:
    """A text from elsewhere as it may stand in a sentence: on one line, and not too long."""
    said = text if text.isprintable() else ascii(text)[1:-1]
    return said if len(said) <= most else f"{said[: most - 1]}…"


def plain(url: str) -> str:
    """A place on this machine as its path, to be pasted; others as their URL."""
    return url.removeprefix("file://")


def dollars(amount: float) -> str:
    """$0.004, $3.21, $22,726.90; less is not told apart."""
    if 0 < amount < 0.001:
        return "<$0.001"
    return f"${amount:,.2f}" if amount >= 0.1 or not amount else f"${amount:.2g}"


def parse_deadline(text: str) -> float | None:
    """Seconds, from hours or a number with its unit: 36, 36h, 2d, 90min; None where none was given."""
    if not text:
        return None
    found = _DURATION.fullmatch(text.strip())
    seconds = float(found[1]) * _SECONDS[found[2]] if found else 0.0
    if seconds <= 0:
        raise BadInput(f"deadline takes hours, or a number with min, h or d, as in 2d; not {text!r}.")
    return seconds


def parse_box(text: str) -> Box | None:
    """A box as typed, X0-X1,Y0-Y1,Z0-Z1; None where none was given."""
    if not text:
        return None
    try:
        box = Box.parse(text)
        vec(box.start)
    except ValueError as error:
        raise BadInput(
            f"box takes X0-X1,Y0-Y1,Z0-Z1 in voxels, as in 0-256,0-256,0-64, not {text!r}."
        ) from error
    if box.empty:
        raise BadInput(f"box {text} is empty: each range must go from a smaller to a larger number.")
    return box


def parse_tolerance(text: str) -> float:
    """A distance in micrometres, with or without its unit."""
    match = re.fullmatch(r"\s*([0-9.eE+-]+)\s*(um|µm|nm|mm)?\s*", text)
    try:
        value = float(match[1]) * {"nm": 1e-3, "mm": 1e3}.get(match[2] or "um", 1.0) if match else 0.0
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise BadInput(f"tolerance takes a distance above 0, as in 10um, not {text!r}.")
    return value


def parse_voxel_size(text: str) -> VoxelSize:
    """Nanometres along x, y, z from text such as 0.227,0.227,1um; a number without any unit is refused."""
    parts = re.split(r"\s*[,;]\s*|\s+(?=[\d.])", text.strip())
    matches = [re.fullmatch(r"([\d.]+(?:e[+-]?\d+)?)\s*([a-zµμ]*)", part, re.IGNORECASE) for part in parts]
    found = [match for match in matches if match is not None]
    if len(parts) != 3 or len(found) != 3:
        raise ValueError("must be three sizes, along x, y and z, with their unit, as in 0.227,0.227,1um")
    units = [match[2] or found[2][2] for match in found]
    if any(unit not in NANOMETRES for unit in units):
        raise ValueError("must have a unit, um or nm, as in 0.227,0.227,1um or 227,227,1000nm")
    try:
        sizes = [
            round(float(match[1]) * NANOMETRES[unit], 6) for match, unit in zip(found, units, strict=True)
        ]
    except ValueError:
        raise ValueError("must be three numbers and a unit, as in 0.227,0.227,1um") from None
    if not all(0 < size < 1e9 for size in sizes):
        raise ValueError("must be larger than nothing and smaller than a metre")
    return sizes[0], sizes[1], sizes[2]


def layer_name(text: str, default: str, dots: bool = False) -> str:
    """A text with only what the name of a layer may have, as from the name of a folder or a channel."""
    others = r"[^A-Za-z0-9_.-]+" if dots else r"[^A-Za-z0-9_-]+"
    return re.sub(others, "_", text).strip("_-." if dots else "_-") or default


def split_mip(place: str) -> tuple[str, int | None]:
    """A path, URL or name, and the mip that stands behind it as @mip; None where there is none."""
    rest, at, mip = place.rpartition("@")
    return (rest, int(mip)) if at and mip.isdecimal() else (place, None)


def refuse_one_text(name: str, given: Sequence[str]) -> None:
    """Raise BadInput for one text where several are meant, as its letters would be taken for them."""
    if isinstance(given, str):
        raise BadInput(f'{name} takes a list of names, as in ["x", "y", "z"], not the text {given!r}.')


def free_name(name: str, taken: Container[str]) -> str:
    """The name, or with the first number that makes it another than those taken."""
    number = 2
    free = name
    while free in taken:
        free, number = f"{name}-{number}", number + 1
    return free


def text_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of texts in lines, the first column to the left."""
    lines = [head, *rows]
    first, *widths = (max(map(len, column)) for column in zip(*lines, strict=True))
    return "\n".join(
        "  ".join([line[0].ljust(first), *map(str.rjust, line[1:], widths)]).rstrip() for line in lines
    )


def html_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of texts as HTML."""
    cells = "".join(f"<th>{html.escape(text)}</th>" for text in head)
    lines = ("".join(f"<td>{html.escape(text)}</td>" for text in row) for row in rows)
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in (cells, *lines))}</table>"
