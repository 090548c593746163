"""Learning from what people marked: classifiers of objects, and the parameters of a task."""
