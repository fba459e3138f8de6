"""Files that survive a crash: atomic writes, locks, checksums; `run.py` and the model cache stand on it."""
