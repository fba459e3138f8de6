"""Methods, tasks and seeds against each other: the paper's Table 1 for its sets and for any user's task."""
