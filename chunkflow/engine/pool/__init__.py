"""The workers of one cluster: how many there are, and which is given what."""
