"""Small files as microscopes leave them: .czi by Zeiss' own library, .lif and .nd2 byte by byte."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def write_czi(
    path: Path, tczyx: Array, names: tuple[str, ...], micrometres: tuple[float, float, float]
) -> Path:
    """Each plane of two tiles side by side, the first pixel away from 0."""
    from pylibCZIrw import czi

    half = tczyx.shape[-1] // 2
    with czi.create_czi(str(path)) as document:
        for t, c, z in np.ndindex(tczyx.shape[:3]):
            for left, part in ((0, tczyx[t, c, z, :, :half]), (half, tczyx[t, c, z, :, half:])):
                at = {"T": t, "C": c, "Z": z}
                document.write(np.ascontiguousarray(part), plane=at, location=(left - 5, 40))
        x, y, z = (size * 1e-6 for size in micrometres)
        document.write_metadata(channel_names=dict(enumerate(names)), scale_x=x, scale_y=y, scale_z=z)
    return path


def write_lif(path: Path, images: dict[str, Array], micrometres: tuple[float, float, float]) -> Path:
    """Images c, z, y, x; in the file the channels of a plane follow each other."""
    elements, blocks = [], b""
    for number, (name, czyx) in enumerate(images.items()):
        channels, sizes = czyx.shape[0], czyx.shape[:0:-1]
        depth, plane = czyx.itemsize * 8, czyx[0, 0].nbytes
        steps = (czyx.itemsize, czyx.itemsize * sizes[0], plane * channels)
        described = "".join(
            f'<ChannelDescription Resolution="{depth}" BytesInc="{plane * c}"/>' for c in range(channels)
        )
        dimensions = "".join(
            f'<DimensionDescription DimID="{axis + 1}" NumberOfElements="{n}" '
            f'Length="{(n - 1) * size * 1e-6}" BytesInc="{step}"/>'
            for axis, (n, size, step) in enumerate(zip(sizes, micrometres, steps, strict=True))
        )
        elements.append(
            f'<Element Name="{name}"><Data><Image><ImageDescription><Channels>{described}</Channels>'
            f"<Dimensions>{dimensions}</Dimensions></ImageDescription></Image></Data>"
            f'<Memory MemoryBlockID="M{number}" Size="{czyx.nbytes}"/></Element>'
        )
        label = f"M{number}".encode("utf-16-le")
        head = struct.pack("<BQBI", 0x2A, czyx.nbytes, 0x2A, len(label) // 2) + label
        data = np.ascontiguousarray(czyx.transpose(1, 0, 2, 3)).tobytes()
        blocks += struct.pack("<II", 0x70, len(head)) + head + data
    xml = (
        '<LMSDataContainerHeader Version="2"><Element Name="brain"><Children>'
        + "".join(elements)
        + "</Children></Element></LMSDataContainerHeader>"
    ).encode("utf-16-le")
    head = struct.pack("<IIBI", 0x70, len(xml) + 5, 0x2A, len(xml) // 2)
    path.write_bytes(head + xml + blocks)
    return path


def write_nd2(
    path: Path, czyx: Array, names: tuple[str, ...], micrometres: tuple[float, float, float]
) -> Path:
    """An .nd2 of version 3: chunks with names, pixels with all channels together, and a map at the end."""
    channels, depth, height, width = czyx.shape
    attributes = {
        "uiWidth": width,
        "uiWidthBytes": width * channels * czyx.itemsize,
        "uiHeight": height,
        "uiComp": channels,
        "uiBpcInMemory": czyx.itemsize * 8,
        "uiBpcSignificant": czyx.itemsize * 8,
        "uiSequenceCount": depth,
        "eCompression": 2,
    }
    planes = {
        f"a{n}": {
            "sDescription": name,
            "uiCompCount": 1,
            "uiSampleIndex": n,
            "pFluorescentProbe": {"m_sName": name},
        }
        for n, name in enumerate(names)
    }
    picture = {
        "bCalibrated": True,
        "dCalibration": micrometres[0],
        "sPicturePlanes": {"uiCount": channels, "sPlaneNew": planes},
    }
    loop = {"eType": 4, "uLoopPars": {"uiCount": depth, "dZStep": micrometres[2]}}
    chunks = {
        "ImageAttributesLV!": variant("SLxImageAttributes", attributes),
        "ImageMetadataSeqLV|0!": variant("SLxPictureMetadata", picture),
        "ImageMetadataLV!": variant("SLxExperiment", loop),
    }
    for k in range(depth):
        frame = np.ascontiguousarray(czyx[:, k].transpose(1, 2, 0)).tobytes()
        chunks[f"ImageDataSeq|{k}!"] = struct.pack("<d", k) + frame
    content = chunk(b"ND2 FILE SIGNATURE CHUNK NAME01!", b"Ver3.0".ljust(64, b"\0"))
    entries = b""
    for name, data in chunks.items():
        entries += name.encode() + struct.pack("<QQ", len(content), len(data))
        # pixels begin 4096 bytes after the head of their chunk
        content += chunk(name.encode().ljust(4072 if name.startswith("ImageData") else 20, b"\0"), data)
    end = b"ND2 CHUNK MAP SIGNATURE 0000001!" + struct.pack("<Q", len(content))
    path.write_bytes(content + chunk(b"ND2 FILEMAP SIGNATURE NAME 0001!", entries + end))
    return path


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack("<IIQ", 0x0ABECEDA, len(name), len(data)) + name + data


def variant(name: str, value: dict[str, Any]) -> bytes:
    return f'<variant version="1.0">{element(name, value)}</variant>'.encode()


def element(name: str, value: Any) -> str:
    if isinstance(value, dict):
        inner = "".join(element(key, item) for key, item in value.items())
        return f'<{name} runtype="CLxListVariant">{inner}</{name}>'
    kind = {bool: "bool", int: "lx_uint32", float: "double", str: "CLxStringW"}[type(value)]
    return f'<{name} runtype="{kind}" value="{str(value).lower() if kind == "bool" else value}"/>'
