"""Labels: a short phrase per feature, how it was made, and how far it can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from saeindex.features.contrast import auroc, contrast_sets

if TYPE_CHECKING:
    from saeindex.features.calibration import Calibration
    from saeindex.types import FloatArray, SparseCode

TRUST_FLOOR = 0.7
MOST_ACTIVE = 300


@dataclass(frozen=True, slots=True)
class FeatureLabel:
    """``trust`` is an AUROC on records that did not make the label; None where too few were active."""

    text: str
    method: str = "lexical"
    trust: float | None = None

    @property
    def is_weak(self) -> bool:
        """Say whether the label is not known to predict its feature."""
        return self.trust is None or self.trust < TRUST_FLOOR

    def to_json(self) -> dict[str, Any]:
        """Return the label as a line of ``labels.jsonl``."""
        trust = None if self.trust is None else round(self.trust, 4)
        return {"label": self.text, "method": self.method, "trust": trust}

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> FeatureLabel:
        """Read what :meth:`to_json` gave."""
        return cls(line["label"], line["method"], line["trust"])


def trust_scores(
    label_vectors: FloatArray, vectors: FloatArray, code: SparseCode, calibration: Calibration, seed: int = 0
) -> list[float | None]:
    """Return each label's AUROC: does cos(label, text) tell active texts from inactive ones?

    ``vectors`` (m, d) and ``code`` are of texts that did not make the labels; see :func:`contrast_sets` for
    which of them are compared. None where the feature has too few.
    """
    trust: list[float | None] = []
    for feature, contrast in enumerate(contrast_sets(vectors, code, calibration, MOST_ACTIVE, seed)):
        if contrast is None:
            trust.append(None)
            continue
        scores = vectors[contrast.texts] @ label_vectors[feature]
        trust.append(float(auroc(scores[:, None], contrast.is_active)[0]))
    return trust
