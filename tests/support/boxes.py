"""Boxes, sizes and corners drawn by hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

from chunkflow.geometry import Box

small = st.integers(-20, 20)
sizes = st.integers(1, 9)
corners = st.tuples(small, small, small)
cells = st.tuples(sizes, sizes, sizes)


@st.composite
def boxes(draw: st.DrawFn, least: int = 1) -> Box:
    size = st.integers(least, 12)
    return Box.of_size(draw(st.tuples(size, size, size)), draw(corners))
