"""How good a classifier is, and compared with what."""
