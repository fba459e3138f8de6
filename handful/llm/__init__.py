"""LLM engines: one Protocol with two verbs, generate and score."""
