"""Surfaces cut by planes: nothing is lost, nothing crosses a plane, and what was closed stays so."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from chunkflow.kernels.surfaces.cutting import cut, fragments

FIRST, STOP = np.array([-2, -1, 0]), np.array([3, 4, 4])


def tetrahedra(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Closed surfaces, some with corners and edges in the planes."""
    random = np.random.default_rng(seed)
    points = random.uniform(FIRST, STOP, (count * 4, 3))
    points = np.where(random.random(points.shape) < 0.3, np.round(points * 2) / 2, points)
    faces = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])
    return points, np.concatenate([faces + 4 * n for n in range(count)])


def area(corners: np.ndarray) -> np.ndarray:
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).sum(axis=0)


def size(corners: np.ndarray) -> float:
    return float(
        np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum()
    )


def volume(corners: np.ndarray) -> float:
    """Six times what a closed surface encloses."""
    return float(np.linalg.det(corners).sum())


def open_edges(corners: np.ndarray) -> int:
    """How many edges do not run as often one way as the other."""
    _, faces = np.unique(corners.reshape(-1, 3), axis=0, return_inverse=True)
    faces = faces.reshape(-1, 3)
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    sign = np.sign(edges[:, 1] - edges[:, 0])
    _, index = np.unique(np.sort(edges, axis=1), axis=0, return_inverse=True)
    return int(np.count_nonzero(np.bincount(index.ravel(), weights=sign)))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 5))
def test_pieces_make_up_the_surface_and_cross_no_plane(seed: int, count: int) -> None:
    points, faces = tetrahedra(seed, count)
    corners = cut(points, faces)
    assert (np.floor(corners.min(axis=1)) + 1 >= corners.max(axis=1)).all()
    assert np.isclose(size(corners), size(points[faces]), rtol=1e-9)
    for face in faces:
        assert np.allclose(area(cut(points, face[None])), area(points[face[None]]), atol=1e-9)
    assert open_edges(corners) == 0


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 5), st.sampled_from([4, 10, 16]), st.sampled_from([1, 2]))
def test_fragments_fit_together_without_cracks(seed: int, count: int, bits: int, halves: int) -> None:
    points, faces = tetrahedra(seed, count)
    corners = cut(points * halves, faces) / halves
    steps, middle = (1 << bits) - 1, 1 << (bits - 1)
    found, seen = [], set()
    for place, vertices, triangles in fragments(corners, FIRST, STOP, bits):
        assert place not in seen
        assert ((np.array(place) >= FIRST) & (np.array(place) < STOP)).all()
        seen.add(place)
        assert vertices.min() >= 0
        assert vertices.max() <= steps
        assert len(np.unique(vertices, axis=0)) == len(vertices) == triangles.max() + 1
        pieces = vertices[triangles]
        if halves == 2:
            assert not ((pieces.min(axis=1) < middle) & (pieces.max(axis=1) > middle)).any()
        found.append(np.array(place) * steps + pieces)
    whole = np.concatenate(found)
    assert open_edges(whole) == 0
    assert (whole.min(axis=(0, 1)) / steps >= points.min(axis=0) - 0.51 / steps).all()
    assert (whole.max(axis=(0, 1)) / steps <= points.max(axis=0) + 0.51 / steps).all()
    assert abs(volume(whole / steps) - volume(points[faces])) <= 3 * size(corners) / steps


def test_what_lies_beyond_the_cells_is_moved_into_them() -> None:
    points, faces = tetrahedra(1, 1)
    corners = cut(points, faces)
    inner = list(fragments(corners, np.array([0, 0, 0]), np.array([1, 1, 1]), 10))
    assert [place for place, _, _ in inner] == [(0, 0, 0)]
    assert (inner[0][1].min(), inner[0][1].max()) == (0, 1023)


def test_a_surface_smaller_than_a_step_leaves_nothing() -> None:
    points, faces = tetrahedra(3, 1)
    assert list(fragments(cut(points * 1e-6 + 0.3, faces), FIRST, STOP, 10)) == []
    assert cut(np.zeros((0, 3)), np.zeros((0, 3), np.int32)).shape == (0, 3, 3)
