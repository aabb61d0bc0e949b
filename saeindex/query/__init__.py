"""Asking: the where language, steering, plans, and explanations that add up."""
