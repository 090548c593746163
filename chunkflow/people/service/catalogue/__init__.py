"""The data sets of a service: where they lie, how they are looked at, what is told of them."""
