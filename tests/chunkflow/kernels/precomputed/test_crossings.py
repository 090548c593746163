"""Which cells an annotation meets, against arithmetic without rounding."""

from fractions import Fraction
from itertools import product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from chunkflow.kernels.precomputed.crossings import AnnotationKind, crossings, extents, numbers_of
from tests.support.files.annotation_layers import Six, nearest

SHAPE, CELL = (3, 4, 2), (5, 3, 7)
SPACE = [
    st.one_of(st.integers(0, n * c), st.floats(0, n * c, width=16)) for n, c in zip(SHAPE, CELL, strict=True)
]
PLACE = st.tuples(*SPACE, *SPACE)


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(["line", "box", "ellipsoid"]), PLACE)
def test_cells_met_are_those_that_share_a_place(kind: AnnotationKind, place: Six) -> None:
    places = np.array([place], np.float64)
    rows, met = crossings(kind, places, CELL, SHAPE)
    found = {tuple(cell) for cell in met.tolist()}
    assert len(found) == len(met) == len(rows)
    low = extents(kind, places)[0][0]
    for cell in product(*map(range, SHAPE)):
        first = tuple(Fraction(i * c) for i, c in zip(cell, CELL, strict=True))
        last = tuple(f + c for f, c in zip(first, CELL, strict=True))
        # what only touches an upper face lies in the next cell, where there is one
        upper = [low[axis] == last[axis] and cell[axis] + 1 < SHAPE[axis] for axis in range(3)]
        if not any(upper):
            assert (cell in found) == nearest(kind, place, first, last), cell
        else:
            assert cell not in found


@settings(deadline=None)
@given(st.tuples(*SPACE))
def test_a_point_and_what_has_no_size_lie_in_the_same_one_cell(place: Six) -> None:
    point = np.array([place], np.float64)
    assert numbers_of("point") == 3
    (expected,) = crossings("point", point, CELL, SHAPE)[1].tolist()
    line = np.concatenate([point, point], axis=1)
    ball = np.concatenate([point, np.zeros((1, 3))], axis=1)
    for kind, places in (("line", line), ("box", line), ("ellipsoid", ball)):
        assert crossings(kind, places, CELL, SHAPE)[1].tolist() == [expected]  # type: ignore[arg-type]
