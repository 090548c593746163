"""Checks of a machine, a cluster and the places that it reads and writes."""
