"""Small tasks with which the engine is tested: each result can be computed for a whole volume at once."""

from tests.support.own_tasks.faults import Faulty, WrongType
from tests.support.own_tasks.rows import Blocks, Count, Even, EvenAndTold, MergedAndTold, Rows, Tell
from tests.support.own_tasks.voxels import (
    Coarse,
    Sections,
    Shapeless,
    Smooth,
    Tiles,
    Two,
    Unmapped,
    WholeTiles,
)

__all__ = [
    "Blocks",
    "Coarse",
    "Count",
    "Even",
    "EvenAndTold",
    "Faulty",
    "MergedAndTold",
    "Rows",
    "Sections",
    "Shapeless",
    "Smooth",
    "Tell",
    "Tiles",
    "Two",
    "Unmapped",
    "WholeTiles",
    "WrongType",
]
