"""What was decided as files and layers: rows, annotations, tables that jobs read, painted polygons."""
