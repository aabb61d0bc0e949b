"""Pairs of concepts: counts, what is trivial, named pairs, graphs."""
