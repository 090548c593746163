"""Models that are kept as ONNX graphs: read, refused, run and written; torch is not needed."""
