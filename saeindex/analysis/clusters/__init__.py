"""Clustering along an axis: evidence, expectation-maximisation, measures and the verdict."""
