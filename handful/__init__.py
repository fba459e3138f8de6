"""From a handful of labelled examples and one local LLM to a fast text classifier."""

__version__ = "0.1.0"
