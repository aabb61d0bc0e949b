"""Every option of a training, and what suits a corpus of a given size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from saeindex.errors import InvalidInputError

# A latent is dead when none of this many texts activated it (the definition that benchmarks use too).
DEAD_AFTER_TEXTS = 50_000


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """The defaults suit 20,000 to 300,000 sentence embeddings."""

    n_features: int = 2_048
    k: int = 32
    steps: int = 3_000
    """Steps of the main phase; the learning rate holds for half of them, then falls linearly to 2 %."""
    batch_size: int = 1_024
    learning_rate: float = 3e-3
    warmup: int = 50
    """Steps over which the learning rate rises from 0."""
    refine_steps: int = 2
    """Gradient steps that refine amplitudes, in encoding and in the second phase."""
    refined_phase: float = 0.25
    """Length of a second phase, as a share of ``steps``, with half of the loss on refined amplitudes."""
    input_noise: float = 0.0
    """Gaussian noise on the input, in units of 1/sqrt(d); the target stays clean."""
    selection: Literal["topk", "batchtopk"] = "topk"
    """``batchtopk`` keeps k per text on average, up to 2k (Bussmann et al. 2024, arXiv 2412.06410)."""
    prefixes: tuple[int, ...] = ()
    """Matryoshka (Bussmann et al. 2025, arXiv 2503.17547): the first p features are trained to be an
    autoencoder of their own, for each p, so that general features come first."""
    prefix_weight: float = 0.4
    """Share of the loss that the prefixes have together, the larger ones more."""
    auxiliary_weight: float = 1 / 32
    """Weight of AuxK (Gao et al. 2024, arXiv 2406.04093): dead latents learn what the live ones leave."""
    contrastive_weight: float = 0.0
    """Weight of the contrastive term of CSR (Wen et al. 2025, arXiv 2503.01776): two noisy inputs of one text
    have alike codes, those of different texts not."""
    evaluate_every: int = 250
    """Steps between measurements on held-out embeddings, and between checkpoints."""
    patience: int = 4
    """Measurements without a lower held-out error before the learning rate falls early, and, where it has
    fallen, before training stops. The best weights are kept."""
    seed: int = 0
    device: str = "cpu"

    def check(self, texts: int) -> None:
        """Raise InvalidInputError unless ``texts`` embeddings can train this."""
        if texts < self.n_features:
            raise InvalidInputError(
                f"train {self.n_features} features",
                f"{texts} embeddings",
                "Give at least as many texts as features, or ask for fewer features.",
            )
        if not 1 <= self.k <= self.n_features:
            raise InvalidInputError(f"k={self.k}", f"{self.n_features} features", "Use 1 to their number.")
        if list(self.prefixes) != sorted({p for p in self.prefixes if self.k <= p < self.n_features}):
            raise InvalidInputError(
                f"prefixes {self.prefixes}",
                f"k={self.k} of {self.n_features} features",
                "Give ascending numbers from k to below the number of features.",
            )
        if self.selection not in ("topk", "batchtopk"):
            raise InvalidInputError(f"selection={self.selection!r}", "unknown", "Use topk or batchtopk.")

    @property
    def refined_steps(self) -> int:
        """Steps of the second phase."""
        return int(self.steps * self.refined_phase)

    @property
    def most_active(self) -> int:
        """The largest number of active features that a text may have."""
        return self.k if self.selection == "topk" else min(2 * self.k, self.n_features)

    @property
    def dead_after(self) -> int:
        """Steps without an activation after which a latent is dead."""
        return -(-DEAD_AFTER_TEXTS // self.batch_size)


def suitable_steps(texts: int, batch_size: int = 1_024) -> int:
    """Return 40 passes over the data, within 200 to 4,000 steps: fewer on a small corpus overfit less."""
    return min(4_000, max(200, 40 * texts // batch_size))
