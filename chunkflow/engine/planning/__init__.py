"""From a job file to cells that wait for cells."""
