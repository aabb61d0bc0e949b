"""Trends over an ordered field: periods, contrasts, change points."""
