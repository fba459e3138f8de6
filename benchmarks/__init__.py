"""Measurements that anyone can repeat; each folder or module says how it is started."""
