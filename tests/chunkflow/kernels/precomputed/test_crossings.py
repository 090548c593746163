"""Which cells an annotation meets, against arithmetic without rounding."""

from fractions import Fraction
from itertools import product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from chunkflow.kernels.precomputed.crossings import Kind, crossings, extents, numbers_of

SHAPE, CELL = (3, 4, 2), (5, 3, 7)
SPACE = [
    st.one_of(st.integers(0, n * c), st.floats(0, n * c, width=16)) for n, c in zip(SHAPE, CELL, strict=True)
]
PLACE = st.tuples(*SPACE, *SPACE)
Six = tuple[float, ...]


def nearest(kind: Kind, place: Six, low: tuple[Fraction, ...], high: tuple[Fraction, ...]) -> bool:
    """Whether the annotation shares a place with a cell that has all its faces."""
    a, b = [Fraction(n) for n in place[:3]], [Fraction(n) for n in place[3:]]
    if kind == "ellipsoid":
        total = Fraction(0)
        for centre, radius, first, last in zip(a, b, low, high, strict=True):
            gap = max(first - centre, centre - last, Fraction(0))
            if gap and not radius:
                return False
            total += (gap / radius) ** 2 if gap else 0
        return total <= 1
    if kind == "line":
        begin, end = Fraction(0), Fraction(1)
        for p, q, first, last in zip(a, b, low, high, strict=True):
            if p == q:
                if not first <= p <= last:
                    return False
                continue
            ends = sorted([(first - p) / (q - p), (last - p) / (q - p)])
            begin, end = max(begin, ends[0]), min(end, ends[1])
        return begin <= end
    ends = [(min(p, q), max(p, q)) for p, q in zip(a, b, strict=True)]
    return all(
        one <= last and first <= other for (one, other), first, last in zip(ends, low, high, strict=True)
    )


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(["line", "box", "ellipsoid"]), PLACE)
def test_cells_met_are_those_that_share_a_place(kind: Kind, place: Six) -> None:
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
