"""Simplified surfaces stay closed, of the same topology, near the first one, and tied to what was fixed."""

import numpy as np
import zmesh
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from chunkflow.kernels.surfaces.simplify import simplify


def surface(mask):
    """Marching cubes' surface of the true voxels."""
    mesher = zmesh.Mesher((1, 1, 1))
    mesher.mesh(np.asfortranarray(mask.astype(np.uint8)), close=False)
    mesh = mesher.get(1, normals=False, reduction_factor=0)
    return mesh.vertices.astype(np.float64), mesh.faces.astype(np.int32)


def ball(size=32, radius=12.0):
    axes = np.ogrid[:size, :size, :size]
    return sum((axis - (size - 1) / 2) ** 2 for axis in axes) < radius**2


def directed_edges(faces):
    return np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])


def unbalanced(faces):
    """Directed edges, as a multiset, that the opposite ones do not cancel: the surface's boundary."""
    edges = directed_edges(faces).astype(np.int64)
    sign = np.where(edges[:, 0] < edges[:, 1], 1, -1)
    pairs, index = np.unique(np.sort(edges, axis=1), axis=0, return_inverse=True)
    sums = np.bincount(index.ravel(), weights=sign, minlength=len(pairs))
    return {(int(a), int(b)): int(s) for (a, b), s in zip(pairs, sums, strict=True) if s}


def euler(vertices, faces):
    edges = np.unique(np.sort(directed_edges(faces), axis=1), axis=0)
    return len(vertices) - len(edges) + len(faces)


def volume(vertices, faces):
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6


def test_a_ball_keeps_its_volume_and_its_topology_with_a_tenth_of_the_triangles():
    vertices, faces = surface(ball())
    points, triangles = simplify(vertices, faces, np.zeros(len(vertices), bool), 1.25)
    assert len(triangles) < len(faces) / 10
    assert euler(points, triangles) == 2
    assert not unbalanced(triangles)
    assert np.unique(np.sort(directed_edges(triangles), axis=1), axis=0, return_counts=True)[1].tolist() == [
        2
    ] * (len(triangles) * 3 // 2)
    assert abs(volume(points, triangles) / volume(vertices, faces) - 1) < 0.02
    assert np.abs(np.linalg.norm(points - 15.5, axis=1) - 12).max() < 1.2


def test_a_ring_keeps_its_hole():
    x, y, z = np.ogrid[:40, :40, :16]
    ring = (np.hypot(x - 19.5, y - 19.5) - 12) ** 2 + (z - 7.5) ** 2 < 16
    vertices, faces = surface(ring)
    points, triangles = simplify(vertices, faces, np.zeros(len(vertices), bool), 3.0)
    assert len(triangles) < len(faces) / 20
    assert euler(points, triangles) == 0


def test_a_cube_needs_few_triangles_and_loses_nothing():
    mask = np.zeros((24, 24, 24), bool)
    mask[2:22, 2:22, 2:22] = True
    vertices, faces = surface(mask)
    points, triangles = simplify(vertices, faces, np.zeros(len(vertices), bool), 1.0)
    assert len(triangles) < len(faces) / 30
    assert abs(volume(points, triangles) / volume(vertices, faces) - 1) < 0.01


def test_no_error_allowed_moves_nothing_off_the_surface():
    mask = np.zeros((12, 12, 12), bool)
    mask[2:10, 2:10, 2:10] = True
    vertices, faces = surface(mask)
    points, triangles = simplify(vertices, faces, np.zeros(len(vertices), bool), 0.0)
    assert volume(points, triangles) == volume(vertices, faces)


def test_fixed_vertices_stay_to_the_last_bit_and_so_does_the_boundary():
    vertices, faces = surface(ball()[:, :, 10:])
    vertices = vertices * [16, 16, 40] + [1e6, 0, 0]
    fixed = vertices[:, 2] == 0
    points, triangles = simplify(vertices, faces, fixed, 30.0)
    boundary = {tuple(map(tuple, vertices[list(pair)])): s for pair, s in unbalanced(faces).items()}
    after = {tuple(map(tuple, points[list(pair)])): s for pair, s in unbalanced(triangles).items()}
    assert len(triangles) < len(faces) / 3
    assert len(boundary) > 50
    assert set(map(frozenset, after)) == set(map(frozenset, boundary))


def test_an_open_boundary_stays_though_nobody_fixed_it():
    vertices, faces = surface(ball()[:, :, 10:])
    points, triangles = simplify(vertices, faces, np.zeros(len(vertices), bool), 1.0)
    edges = {frozenset(map(tuple, vertices[list(pair)])) for pair in unbalanced(faces)}
    assert {frozenset(map(tuple, points[list(pair)])) for pair in unbalanced(triangles)} == edges


def test_a_larger_error_gives_fewer_triangles_further_off():
    vertices, faces = surface(ball())
    free = np.zeros(len(vertices), bool)
    counts, distances = [], []
    for error in (0.5, 1.0, 2.0):
        points, triangles = simplify(vertices, faces, free, error)
        counts.append(len(triangles))
        spread = np.concatenate([points[triangles].mean(axis=1), points])
        distances.append(cKDTree(spread).query(vertices)[0].mean())
    assert counts == sorted(counts, reverse=True)
    assert distances == sorted(distances)


def test_nothing_gives_nothing():
    points, triangles = simplify(np.zeros((0, 3)), np.zeros((0, 3), np.int32), np.zeros(0, bool), 1.0)
    assert points.shape == (0, 3)
    assert triangles.shape == (0, 3)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), share=st.floats(0.1, 0.9), error=st.floats(0.0, 5.0))
def test_any_voxels_stay_closed_without_degenerate_triangles(seed, share, error):
    mask = np.random.default_rng(seed).random((9, 8, 7)) < share
    mask = np.pad(mask, 1)
    if not mask.any():
        return
    vertices, faces = surface(mask)
    points, triangles = simplify(vertices, faces, np.zeros(len(vertices), bool), error)
    assert not unbalanced(triangles)
    assert (np.sort(triangles, axis=1)[:, 1:] != np.sort(triangles, axis=1)[:, :-1]).all()
    assert np.isfinite(points).all()
    assert len(points) - len(triangles) / 2 == len(vertices) - len(faces) / 2
    again = simplify(vertices, faces, np.zeros(len(vertices), bool), error)
    assert (again[0] == points).all()
    assert (again[1] == triangles).all()
