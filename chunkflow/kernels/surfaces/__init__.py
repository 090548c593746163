"""Kernels on surfaces: marching cubes, simplification, cutting."""
