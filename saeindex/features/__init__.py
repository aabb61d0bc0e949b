"""Feature spaces: an encoder, an autoencoder over it, and labels for its features."""

from __future__ import annotations

from saeindex.features.calibration import Calibration
from saeindex.features.families import Family
from saeindex.features.feature_space import FeatureSpace
from saeindex.features.labels import FeatureLabel

__all__ = ["Calibration", "Family", "FeatureLabel", "FeatureSpace"]
