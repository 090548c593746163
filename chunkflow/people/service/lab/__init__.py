"""The service of a lab: the catalogue, logins, kept views, and the processes that serve."""
