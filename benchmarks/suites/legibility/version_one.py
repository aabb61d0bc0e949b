"""What was measured of version one, a space of 2,560 free features that is no longer packaged.

The figures are constants, by the rules of this suite on 2026-11-23; nothing of them is computed again.
"""

from __future__ import annotations

from benchmarks.outcome import Figure

# What a blind reader detected, by group of corpora and draw, with the number of questions; and what was said
# of findings with their own example and with that of another one.
DETECTED = {
    ("general", "all"): (0.7533333333333333, 300),
    ("general", "shown"): (0.8883333333333333, 600),
    ("kept_out", "all"): (0.7633333333333333, 300),
    ("kept_out", "shown"): (0.8933333333333333, 600),
}
SAID = {
    "findings_read_right": (0.9005847953216374, 171),
    "findings_decoys_taken": (0.4523809523809524, 42),
}
MEASURED = {
    "conceptuality_f1": 0.1446785131971957,
    "spelling_share_all": 0.18486096807415037,
    "spelling_share_shown": 0.1882985877605918,
    "hidden_feature_share": 0.24184330572525378,
    "hidden_mass": 0.280167549853437,
    "trusted_mass_mean": 0.7184247664407009,
    "trusted_mass_worst": 0.5866431630349784,
    "hidden_feature_share_kept_out": 0.240580539799554,
    "hidden_mass_kept_out": 0.2767752985621795,
    "trusted_mass_mean_kept_out": 0.7232247014378206,
    "trusted_mass_worst_kept_out": 0.6365809037657593,
}
# The mean F1 of its 1,943 live features on subtrees that gave no anchor, and the standard error of that mean
# (measured on 2026-11-24).
FREE_F1, FREE_F1_ERROR = 0.05811291, 0.00213522


def figures() -> dict[str, Figure]:
    """Return the figures of version one, each of which says that it is a constant."""
    shares = {
        f"detection_{group}{'_shown' if draw == 'shown' else ''}": one
        for (group, draw), one in DETECTED.items()
    }
    found = {name: Figure(value, "share (constant)", n=n) for name, (value, n) in (shares | SAID).items()}
    found |= {name: Figure(value, "(constant)") for name, value in MEASURED.items()}
    return {f"v1_{name}": figure for name, figure in found.items()}
