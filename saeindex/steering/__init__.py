"""Directions to steer along, steered queries, and saved profiles."""
