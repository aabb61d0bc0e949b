"""The evidence of the default space: its dictionary, the pairs that readers judged, and the fit."""
