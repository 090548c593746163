"""Planning: from a job to cells that wait for cells."""
