"""Clusters along an axis."""
