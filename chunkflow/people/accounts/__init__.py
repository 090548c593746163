"""Accounts of a service: who may do what, how they prove who they are, what they did and looked at last."""
