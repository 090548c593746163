"""Which provider a cluster's file is for; no more than that one is imported."""

from __future__ import annotations

from pathlib import Path

from chunkflow.data.documents import read_document
from chunkflow.errors import BadInput
from cluster.place import ClusterPlace

PROVIDERS = ("slurm", "aws", "gcp", "kubernetes")


def load_place(path: Path) -> ClusterPlace:
    """Read a cluster's file."""
    document = read_document(path, "cluster file", "keys, as in provider: slurm")
    provider = document.get("provider")
    if provider not in PROVIDERS:
        said = "does not say its provider" if provider is None else f"has the provider {provider!r}"
        raise BadInput(f"{path} {said}: provider is one of {', '.join(PROVIDERS)}.")
    return _place(provider, document, path)


def _place(provider: str, document: dict[str, object], path: Path) -> ClusterPlace:
    if provider == "slurm":
        from cluster.slurm.cluster import SlurmCluster

        return SlurmCluster.from_document(document, path)
    if provider == "kubernetes":
        raise BadInput(
            "On Kubernetes kubectl makes the cluster: see examples/kubernetes.yaml and docs/kubernetes.md."
        )
    from cluster.cloud.cluster import CloudCluster

    return CloudCluster.from_document(document, path)
