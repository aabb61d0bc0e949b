"""The options of a training, and the number of steps for a corpus of a given size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from saeindex.errors import InvalidInputError

# Number of texts without an activation after which a latent is dead (also in the benchmarks).
DEAD_AFTER_TEXTS = 50_000


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """Options of a training; the defaults are for 20,000 to 300,000 sentence embeddings."""

    n_features: int = 2_048
    k: int = 32
    steps: int = 3_000
    """Steps of the main phase; the learning rate is constant for half of them, then falls linearly to 2 %."""
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
    """Matryoshka (Bussmann et al. 2025, arXiv 2503.17547): for each p, the first p features are trained as an
    autoencoder, so that general features come first."""
    prefix_weight: float = 0.4
    """Total share of the loss for the prefixes; larger prefixes have more."""
    auxiliary_weight: float = 1 / 32
    """Weight of AuxK (Gao et al. 2024, arXiv 2406.04093): dead latents learn the residual of live latents."""
    contrastive_weight: float = 0.0
    """Weight of the contrastive term of CSR (Wen et al. 2025, arXiv 2503.01776): two noisy inputs of the same
    text get similar codes, inputs of different texts different codes."""
    k_named: int = 0
    """How many of the k active features may be named ones, if the training has anchors; the rest are free."""
    named_share: float = 0.3
    """Share of the loss for the reconstruction by the named features alone."""
    free_share: float = 0.0
    """Share of the loss for the reconstruction by the free features alone, which then speak of a text rather
    than of what named features leave of it."""
    anchor_weight: float = 0.3
    """Weight of the mean distance (1 - cosine) of named features from their anchors."""
    fixed_anchors: bool = False
    """Named features stay at their anchors."""
    tied_encoder: bool = False
    """The strength of a named feature is the nearness of a text to its anchor, up to scale and bias. Among
    thousands of named features, an encoder that may learn explains what the others leave, and its names no
    longer predict it; fifty concepts of one corpus are told apart better by one that learns."""
    aim_weight: float = 0.1
    """Weight of the mean distances (1 - cosine) of the encoder and decoder rows of free features from their
    aims, if the training has aims: the directions of names that they should come to deserve."""
    evaluate_every: int = 250
    """Steps between measurements on held-out embeddings."""
    patience: int = 4
    """Measurements without a lower held-out error before the learning rate falls early, and, after that,
    before training stops. The best weights are kept."""
    seed: int = 0
    device: str = "cpu"

    def check(self, texts: int) -> None:
        """Raise InvalidInputError unless the options are valid for ``texts`` embeddings."""
        if texts < self.n_features:
            do = "Give at least as many texts as features, or fewer features."
            raise InvalidInputError(f"train {self.n_features} features", f"{texts} embeddings", do)
        if not 1 <= self.k <= self.n_features:
            raise InvalidInputError(f"k={self.k}", f"{self.n_features} features", "Use 1 to n_features.")
        if list(self.prefixes) != sorted({p for p in self.prefixes if self.k <= p < self.n_features}):
            asked = f"prefixes {self.prefixes}"
            do = "Give ascending numbers from k to below the number of features."
            raise InvalidInputError(asked, f"k={self.k} of {self.n_features} features", do)
        if self.k_named and self.k < 2:
            asked = f"concepts with k={self.k}"
            found = "one active feature, and named and free features need one each"
            raise InvalidInputError(asked, found, "Use k of at least 2, or give no concepts.")
        if self.k_named and not self.takes_anchors:
            do = "Named features need selection='topk' and no prefixes."
            raise InvalidInputError(f"k_named={self.k_named}", "batchtopk or prefixes", do)
        if self.selection not in ("topk", "batchtopk"):
            raise InvalidInputError(f"selection={self.selection!r}", "unknown", "Use topk or batchtopk.")

    @property
    def takes_anchors(self) -> bool:
        """Whether a training with these options can have named features."""
        return self.selection == "topk" and not self.prefixes and self.k > 1

    @property
    def refined_steps(self) -> int:
        """Steps of the second phase."""
        return int(self.steps * self.refined_phase)

    @property
    def all_steps(self) -> int:
        """Steps of both phases, unless the learning rate falls early."""
        return self.steps + self.refined_steps

    @property
    def max_active(self) -> int:
        """The maximum number of active features of a text."""
        return self.k if self.selection == "topk" else min(2 * self.k, self.n_features)

    @property
    def dead_after(self) -> int:
        """Steps without an activation after which a latent is dead."""
        return -(-DEAD_AFTER_TEXTS // self.batch_size)


def suitable_steps(texts: int, batch_size: int = 1_024) -> int:
    """Return 40 passes over the data, within 200 to 4,000 steps: fewer on a small corpus overfit less."""
    return min(4_000, max(200, 40 * texts // batch_size))
