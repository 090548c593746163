"""Reports of runs: pages, timelines, methods, pictures."""
