"""Workers as Ray actors, and the room that a cluster has for them."""
