"""Which encodings of the precomputed format can hold which voxels."""

from __future__ import annotations

from chunkflow.data.info import LabelsInfo, VoxelsInfo
from chunkflow.errors import BadInput
from chunkflow.extras import optional_import

_WHOLE = ("uint8", "uint16", "uint32", "uint64")
ENCODINGS: dict[str, tuple[str, ...]] = {
    "raw": (*_WHOLE, "int8", "int16", "int32", "int64", "float32", "float64"),
    "jpeg": ("uint8",),
    "compressed_segmentation": ("uint32", "uint64"),
    "crackle": _WHOLE,
}
"""Those that layers are written in."""
CODECS = {"crackle": "crackle", "jxl": "imagecodecs"}
"""The optional package that encodes and decodes an encoding, where CloudVolume needs one."""
LOSSY = ("jpeg", "jxl", "zfpc", "kempressed")
"""Those that change voxels, also such as other programs write."""


def refuse_encoding(name: str, layer: VoxelsInfo) -> None:
    """Raise BadInput where a layer's voxels cannot be stored so, or where ids would be changed by it."""
    fitting = [
        encoding
        for encoding, dtypes in ENCODINGS.items()
        if layer.dtype in dtypes and not (isinstance(layer, LabelsInfo) and encoding in LOSSY)
    ]
    if layer.encoding not in fitting:
        raise BadInput(
            f"The layer {name} ({layer.dtype}) cannot be stored as {layer.encoding!r}; "
            f"it can be as {', '.join(fitting)}."
        )
    require_codec(name, layer.encoding)


def require_codec(layer: str, encoding: str) -> None:
    """Raise BadInput where the package that decodes and encodes an encoding is not installed."""
    if encoding in CODECS:
        optional_import(CODECS[encoding], f"The layer {layer}, as it is stored as {encoding},")
