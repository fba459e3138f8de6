"""Reading what users hand in: files of texts, frames, task files; every fault named by file and line."""
