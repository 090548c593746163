"""Pure functions on arrays: no storage, no Ray, no task."""
