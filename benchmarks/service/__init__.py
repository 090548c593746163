"""The web service beside nginx: files of layers, whole and in parts."""
