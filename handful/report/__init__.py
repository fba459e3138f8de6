"""A run told to its owner: plots, word clouds and one HTML page. A leaf: only the command line calls it."""
