"""Networks applied to volumes: inference, and the normalisation of images before it."""
