"""A query: validated, planned, executed, explained, compared."""
