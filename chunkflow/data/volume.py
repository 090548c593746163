"""A volume: one precomputed layer at one mip, read through CloudVolume, and the files of its voxels."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from cloudvolume import CloudVolume
from cloudvolume.exceptions import EmptyVolumeException, InfoUnavailableError
from cloudvolume.lib import Bbox

from chunkflow.chunk import Array, Chunk
from chunkflow.data.clients import is_fault, is_refusal
from chunkflow.data.encodings import require_codec
from chunkflow.data.info import ImageInfo, VoxelsInfo
from chunkflow.data.sharded import chunk_files, file_names, sharding_of
from chunkflow.errors import BadInput, DamagedInput, StorageError
from chunkflow.geometry import Box, VoxelSize, vec

_DECODERS = {"deflate", "zlib", "lzma", "brotli", "zstandard", "backports.zstd", "_compression"}
_DAMAGE = {"DecompressionError", "IntegrityError", "CRC32CIntegrityError", "MD5IntegrityError"}


class Volume:
    """A layer at one mip, of which any box can be read.

    Indexed by voxels (x, y, z), counted as the layer counts them, it gives an array of numpy:

    >>> dapi = work.volume("dapi")
    >>> dapi.bounds.size, dapi.voxel_size, dapi.dtype
    ((128, 128, 96), (1000.0, 1000.0, 2000.0), 'uint16')
    >>> dapi[10:20, :, 5].shape
    (10, 128)
    """

    def __init__(self, info: VoxelsInfo, fill_missing: bool = False) -> None:
        require_codec(info.url, info.encoding)
        self.info = info
        self._cloud = open_cloud(info.url, info.mip, fill_missing)

    @property
    def url(self) -> str:
        return self.info.url

    @property
    def bounds(self) -> Box:
        """The voxels that exist."""
        return self.info.bounds

    @property
    def voxel_size(self) -> VoxelSize:
        """Nanometres along x, y, z."""
        return self.info.voxel_size

    @property
    def dtype(self) -> str:
        return self.info.dtype

    def __repr__(self) -> str:
        size = " x ".join(map(str, self.bounds.size))
        voxel = " x ".join(f"{length:g}" for length in self.voxel_size)
        return f"{self.url}: {size} voxels (x, y, z) of {self.dtype}, {voxel} nm each"

    def __getitem__(self, key: object) -> Array:
        """Voxels by slices or single positions of x, y, z; an axis that is left out is taken whole."""
        places = key if isinstance(key, tuple) else (key,)
        if len(places) > 3:
            raise IndexError(f"a volume has the axes x, y, z; {len(places)} positions were given")
        ends = zip(self.bounds.start, self.bounds.stop, (*places, *[slice(None)] * 3), strict=False)
        ranges = [_voxels(place, start, stop) for start, stop, place in ends]
        array = self.read(Box(vec(a for a, _ in ranges), vec(b for _, b in ranges))).array
        return array[tuple(slice(None) if isinstance(p, slice) else 0 for p in places)]

    def read(self, box: Box) -> Chunk:
        """The voxels of `box`, which must lie within the layer; a missing one is an error, never a zero."""
        try:
            cutout = self._cloud.download(Bbox(box.start, box.stop), mip=self.info.mip)
        except EmptyVolumeException as error:
            raise DamagedInput(
                f"{self.info.url}: mip {self.info.mip} lacks a storage chunk: {error}"
            ) from error
        except Exception as error:
            if _is_damage(error):
                said = str(error).strip().partition("\n")[0]  # deflate says the rest once for every chunk
                raise DamagedInput(
                    f"{self.info.url}: a storage chunk in {box} cannot be decoded: {said}"
                ) from error
            raise _judged(error, f"{self.info.url}: reading {box} failed") from error
        array = np.asarray(cutout)
        return Chunk(array[..., 0] if self.info.channels == 1 else array, box, self.info.voxel_size)


def files_of(info: VoxelsInfo, chunk: Chunk) -> Iterator[tuple[str, bytes]]:
    """The files that a chunk fills, with their names in the layer's folder, each encoded as it is asked
    for."""
    if chunk.array.dtype != info.dtype:
        raise ValueError(f"{info.url} holds {info.dtype}, not {chunk.array.dtype}")
    key = scale_key(info.voxel_size)
    return ((f"{key}/{name}", data) for name, data in chunk_files(info, chunk))


def voxel_files(info: VoxelsInfo, box: Box) -> list[str]:
    """The names of the files that a box fills, in the layer's folder."""
    key = scale_key(info.voxel_size)
    return [f"{key}/{name}" for name in file_names(info, box)]


def _voxels(place: object, start: int, stop: int) -> tuple[int, int]:
    """The range of voxels along an axis from `start` to `stop` that a position or slice names."""
    try:
        if isinstance(place, slice) and place.step in (None, 1):
            first = start if place.start is None else operator.index(place.start)
            last = stop if place.stop is None else operator.index(place.stop)
        else:
            first = operator.index(place)  # type: ignore[arg-type]  # what is none raises TypeError
            last = first + 1
    except TypeError:
        raise IndexError(f"{place!r} is neither a whole number nor a slice of them of step 1") from None
    if not start <= first < last <= stop:
        raise IndexError(f"{first}:{last} is no part of {start}:{stop}, the voxels along this axis")
    return first, last


def _is_damage(error: Exception) -> bool:
    """Whether what was read is there, but is not what it should be."""
    kind = type(error)
    if isinstance(error, OSError):
        return kind.__module__ == "gzip"
    decoding = isinstance(error, ValueError | EOFError | IndexError | RuntimeError)
    return decoding or kind.__module__ in _DECODERS or kind.__name__ in _DAMAGE


def _judged(error: Exception, doing: str) -> Exception:
    """Errors of storage clients are storage errors; everything else stays what it is."""
    if isinstance(error, OSError):
        return StorageError(f"{doing}: {error}")
    if is_fault(error):
        return StorageError(f"{doing}: {type(error).__name__}: {error}")
    if type(error).__module__.partition(".")[0] == "cloudvolume":
        return DamagedInput(f"{doing}: {type(error).__name__}: {error}")
    return error


def open_cloud(url: str, mip: int, fill_missing: bool = False) -> CloudVolume:
    """The layer at a URL as CloudVolume opens it; nothing but its info is read."""
    try:
        return CloudVolume(
            url,
            mip=mip,
            fill_missing=fill_missing,
            bounded=True,
            progress=False,
            cache=False,
        )
    except InfoUnavailableError as error:
        raise BadInput(f"There is no precomputed layer at {url} (no info file).") from error
    except Exception as error:
        said = f"The layer {url} (mip {mip}) cannot be opened: {error}"
        if is_fault(error) and not is_refusal(error):
            raise StorageError(said) from error
        raise BadInput(said) from error


def scale_key(voxel_size: VoxelSize) -> str:
    """The folder of a mip within its layer."""
    return "_".join(f"{v:.12g}" for v in voxel_size)


def layer_document(scales: list[VoxelsInfo], parts: Sequence[str] = ()) -> dict[str, Any]:
    """The `info` file of a layer, from its mips in order; `parts` are folders in it that belong to it."""
    first = scales[0]
    document: dict[str, Any] = CloudVolume.create_new_info(
        num_channels=first.channels,
        layer_type=first.kind,
        data_type=first.dtype,
        encoding=first.encoding,
        resolution=_plain(first.voxel_size),
        voxel_offset=list(first.bounds.start),
        volume_size=list(first.bounds.size),
        chunk_size=list(first.storage),
        compressed_segmentation_block_size=(8, 8, 8),
    )
    template = document["scales"][0]
    document["scales"] = [
        template
        | {
            "key": scale_key(scale.voxel_size),
            "resolution": _plain(scale.voxel_size),
            "voxel_offset": list(scale.bounds.start),
            "size": list(scale.bounds.size),
            "chunk_sizes": [list(scale.storage)],
        }
        | (_sharding(scale) if scale.sharded else {})
        for scale in scales
    ]
    document.pop("mesh", None)
    if isinstance(first, ImageInfo) and first.contents:
        document["contents"] = [content.model_dump(mode="json") for content in first.contents]
    return document | {part: part for part in parts}


def _sharding(scale: VoxelsInfo) -> dict[str, Any]:
    return {"sharding": sharding_of(scale.bounds, scale.storage, scale.compressed).document()}


def _plain(voxel_size: VoxelSize) -> list[float]:
    """Whole nanometres as ints, as most readers expect them."""
    return [int(v) if float(v).is_integer() else v for v in voxel_size]
