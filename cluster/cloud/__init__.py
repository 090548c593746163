"""Clusters on AWS and GCP."""
