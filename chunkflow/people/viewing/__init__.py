"""Layers shown in Neuroglancer, by a server of this machine."""
