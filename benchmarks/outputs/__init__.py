"""Figures of what jobs make: meshes, mips, annotations and tables, beside peers."""
