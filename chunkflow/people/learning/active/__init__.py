"""Learning from what people decide: which objects are looked at next, and what each round brings."""
