"""How recipes are chosen: on development texts, never on test sets."""
