"""How recipes are chosen, on development texts, and what is measured on the test sets."""
