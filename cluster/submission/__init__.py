"""Jobs given to a running cluster."""
