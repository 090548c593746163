"""Tables, annotations and volumes as files of other programs."""
