"""TIFF files that belong together: an OME-TIFF and Micro-Manager's two formats, in two files each."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import tifffile

from tests.support.files.stack_files import MICROMETRES, ZYX, Array


def ome_set(folder: Path, other: str, elsewhere: Path) -> Path:
    """Two files of one OME-TIFF: the second half of the planes is in the other."""
    half = 5
    sizes = "".join(f' Size{a}="{n}"' for a, n in zip("XYZCT", (17, 21, 2 * half, 1, 1), strict=True))
    physical = "".join(
        f' PhysicalSize{a}="{n}" PhysicalSize{a}Unit="um"' for a, n in zip("XYZ", MICROMETRES, strict=True)
    )
    data = "".join(
        f'<TiffData FirstZ="{half * k}" IFD="0" PlaneCount="{half}"><UUID FileName="{name}">'
        f"urn:uuid:{k}</UUID></TiffData>"
        for k, name in enumerate(("a.ome.tif", other))
    )
    text = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:0">'
        f'<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16"{sizes}{physical}>'
        f'<Channel ID="Channel:0" SamplesPerPixel="1"/>{data}</Pixels></Image></OME>'
    )
    elsewhere.parent.mkdir(exist_ok=True)
    tifffile.imwrite(elsewhere, ZYX[half : 2 * half], description=text, metadata=None, compression="zlib")
    path = folder / "a.ome.tif"
    tifffile.imwrite(path, ZYX[:half], description=text, metadata=None, compression="zlib")
    return path


def micromanager(path: Path, plane: Array, header: bytes) -> None:
    """A TIFF of one plane with what Micro-Manager writes in front of it."""
    text = b'{"a": 1}'
    at = 8 + len(header) + len(text)
    rows, columns = plane.shape
    tags = [(256, 4, columns), (257, 4, rows), (258, 4, 16), (259, 4, 1), (262, 4, 1), (273, 4, at)]
    tags += [(277, 4, 1), (278, 4, rows), (279, 4, plane.nbytes)]
    entries = [struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags]
    entries.append(struct.pack("<HHII", 51123, 2, len(text), at - len(text)))
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    start = b"II*\0" + struct.pack("<I", at + plane.nbytes)
    path.write_bytes(start + header + text + plane.tobytes() + directory)


def ndtiff_set(folder: Path, other: str) -> Path:
    """Two planes as NDTiff, version 2: the index names the files."""
    index, summary = b"", b"{}"
    for z, file in enumerate(("a.tif", other)):
        header = struct.pack("<IIII", 483729, 2, 2355492, len(summary)) + summary
        micromanager(folder / file, ZYX[z], header)
        axes = json.dumps({"z": z}).encode()
        index += struct.pack("<I", len(axes)) + axes + struct.pack("<I", len(file)) + file.encode()
        index += struct.pack("<IiiiiIii", 26, 17, 21, 1, 0, 0, 0, 0)
    (folder / "NDTiff.index").write_bytes(index)
    return folder / "a.tif"


def mmstack_set(folder: Path, other: str) -> Path:
    """Two planes as Micro-Manager's image stack: files of one prefix, each of which tells its own planes."""
    sizes = {"Frames": 1, "Slices": 2, "Channels": 1, "Positions": 1}
    summary = json.dumps({"MicroManagerVersion": "1.4", "Prefix": "a"} | sizes).encode()
    for z, file in enumerate(("a_MMStack.ome.tif", other)):
        map_at = 8 + 32 + len(summary)
        directory_at = map_at + 28 + 8 + ZYX[z].nbytes
        header = struct.pack("<8I", 54773648, map_at, 0, 0, 0, 0, 2355492, len(summary)) + summary
        header += struct.pack("<7I", 3453623, 1, 0, z, 0, 0, directory_at)
        micromanager(folder / file, ZYX[z], header)
    return folder / "a_MMStack.ome.tif"
