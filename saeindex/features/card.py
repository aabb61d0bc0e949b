"""The model card of a feature space: README.md, written from measured figures only."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from saeindex.features.labels import TRUST_FLOOR
from saeindex.types import shown_label

if TYPE_CHECKING:
    from saeindex.features.space import Space

HUB_NAME = re.compile(r"^[\w.-]+/[\w.-]+$")
FIDELITY = (
    ("nmse", "NMSE"),
    ("nmse_unrefined", "NMSE, not refined"),
    ("cosine", "cosine"),
    ("active", "active features"),
    ("dead_share", "dead features"),
    ("overlap10", "top-10 overlap"),
    ("ndcg_retained", "nDCG@10 retained"),
)
LABELS = (
    ("mean_trust_above_floor", "mean trust of those above the floor"),
    ("share_above_floor", "share of live features above the floor"),
    ("mean_f1", "mean F1"),
    ("control_auroc", "mean trust of shuffled labels"),
)
EXAMPLES = 12


def model_card(space: Space, repo_id: str | None = None, *, license: str = "apache-2.0") -> str:
    """Return the card of ``space`` as Markdown with YAML front matter; the same space gives the same text.

    ``repo_id`` is the name that the usage example loads. Figures that the report lacks are left out.
    """
    sections = [
        _front_matter(space, license),
        _overview(space),
        _use(space, repo_id or "path/to/space"),
        _fidelity(space.report),
        _labels(space),
        _training(space.report),
        _limits(space),
        _licence(space.report, license),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _front_matter(space: Space, license: str) -> str:
    lines = [f"license: {license}", "library_name: saeindex", "pipeline_tag: feature-extraction"]
    if HUB_NAME.match(space.encoder.model):
        lines.append(f"base_model: {space.encoder.model}")
    tags = ("saeindex", "sparse-autoencoder", "interpretability", "retrieval")
    lines += ["tags:", *(f"- {tag}" for tag in tags)]
    return "\n".join(["---", *lines, "---"])


def _overview(space: Space) -> str:
    encoder = space.encoder
    rows = [
        ("encoder", f"{encoder.model}, {encoder.dimension} dimensions, {encoder.max_length} tokens"),
        ("encoder weights", encoder.revision),
        ("features", f"{space.n_features:,}"),
        ("active per text", f"at most {space.sae.k}"),
        ("amplitudes", f"refined on the support, {space.sae.refine_steps} steps"),
        ("families", f"{len(space.families):,}"),
        ("fingerprint", f"`{space.fingerprint}`"),
    ]
    return (
        f"# {_escape(space.name)}\n\n"
        "A feature space for [saeindex](https://github.com/saeindex/saeindex): a sparse autoencoder over\n"
        "sentence embeddings, with a label, a measured trust and calibrated levels for each feature.\n\n"
        + _table(("", ""), rows)
    )


def _licence(report: Mapping[str, Any], license: str) -> str:
    sources = "".join(f"\n\n{_escape(source)}" for source in report.get("attribution", ()))
    return f"## Licence\n\nThe weights and labels: {license}.{sources}"


def _use(space: Space, name: str) -> str:
    return f"""## How to use it

```python
from saeindex import FeatureIndex
from saeindex.features.hub import from_pretrained

space = from_pretrained("{name}")
index = FeatureIndex.create("papers.idx", space=space)
```

An index keeps the space's fingerprint and opens with no other."""


def _fidelity(report: Mapping[str, Any]) -> str:
    measured = [("held-out texts", report["held_out"])] if report.get("held_out") else []
    measured += sorted((report.get("by_corpus") or {}).items())
    measured = [(name, values) for name, values in measured if isinstance(values, Mapping)]
    if not measured:
        return "## Fidelity\n\nNot measured."
    names = [(key, title) for key, title in FIDELITY if any(key in values for _, values in measured)]
    rows = [(_escape(corpus), *(_number(values.get(key)) for key, _ in names)) for corpus, values in measured]
    return (
        "## Fidelity\n\nOn texts that the autoencoder was not trained on. NMSE is the squared error of the\n"
        "reconstruction as a share of the variance.\n\n"
        + _table(("corpus", *(title for _, title in names)), rows)
    )


def _labels(space: Space) -> str:
    trusts = np.array([label.trust for label in space.labels if label.trust is not None])
    weak = sum(label.is_weak for label in space.labels)
    methods = {
        method: sum(label.method == method for label in space.labels)
        for method in sorted({label.method for label in space.labels})
    }
    rows = [(f"made by: {_escape(method)}", f"{count:,}") for method, count in methods.items()]
    rows += [("trust measured", f"{len(trusts):,} of {space.n_features:,}"), ("shown as weak", f"{weak:,}")]
    if len(trusts):
        low, median, high = np.quantile(trusts, (0.1, 0.5, 0.9))
        rows += [
            ("mean trust", f"{trusts.mean():.3f}"),
            ("trust, 10 % / median / 90 %", f"{low:.3f} / {median:.3f} / {high:.3f}"),
        ]
    figures = space.report.get("labels") or {}
    rows += [(title, f"{figures[key]:.3f}") for key, title in LABELS if figures.get(key) is not None]
    parts = [
        "## Labels",
        "Trust is the AUROC with which the label separates texts with the active feature from others, on\n"
        f"texts that did not make it; 0.5 is chance, and a label below {TRUST_FLOOR} is shown as weak. F1\n"
        "is at the best threshold of one half of those texts, on the other half; a label that always\n"
        "predicts yes would have 0.5.",
        _table(("", ""), rows),
    ]
    if len(trusts):
        parts += ["The most trusted:", "\n".join(_most_trusted(space))]
    return "\n\n".join(parts)


def _most_trusted(space: Space) -> list[str]:
    known = [(i, label) for i, label in enumerate(space.labels) if label.trust is not None]
    known.sort(key=lambda entry: (-(entry[1].trust or 0), entry[0]))
    return [
        f"* #{i} {shown_label(_escape(label.text), label.is_weak)}, {label.trust:.2f}"
        for i, label in known[:EXAMPLES]
    ]


def _training(report: Mapping[str, Any]) -> str:
    rows = [(key.replace("_", " "), _number(value)) for key, value in (report.get("training") or {}).items()]
    rows += [
        (key.replace("_", " "), _number(report[key])) for key in ("texts", "held_out_texts") if key in report
    ]
    rows += [(_escape(str(key)), _number(value)) for key, value in (report.get("imported") or {}).items()]
    parts = [_table(("setting", "value"), rows)] if rows else []
    if report.get("mixture"):
        parts.append(
            "Texts it was fitted on:\n\n"
            + _table(("part", "texts"), _rows(sorted(report["mixture"].items())))
        )
    return "\n\n".join(["## Training", *parts]) if parts else ""


def _limits(space: Space) -> str:
    own = space.report.get("calibrated_on")
    texts = f"{_number(own)} records of an index" if own else "the texts above"
    lines = [
        f"The levels and densities are those of {texts}; on other texts they drift.",
        "One phrase is rarely one feature, and a label names what is typical of a feature, not all of it.",
        "Features are those of one training run: another seed finds others. `saeindex sae map` compares two.",
    ]
    if space.calibration.records == 0:
        lines.insert(0, "Not calibrated: no feature is ever typical or strong.")
    corpora = (space.report.get("by_corpus") or {}).items()
    errors = {name: values.get("nmse") for name, values in corpora if isinstance(values, Mapping)}
    known = {name: error for name, error in errors.items() if isinstance(error, int | float)}
    if known:
        worst = max(known, key=lambda name: (known[name], name))
        lines.insert(0, f"Least faithful on {_escape(worst)}: NMSE {_number(known[worst])}.")
    return "## Limits\n\n" + "\n".join(f"* {line}" for line in lines)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---"] * len(head)
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *rows))


def _rows(items: Sequence[tuple[str, Any]]) -> list[tuple[str, str]]:
    return [(_escape(name), _number(value)) for name, value in items]


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "" if value is None else _escape(str(value))
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _escape(text: str) -> str:
    """Return external text on one line, with the characters of Markdown and HTML escaped."""
    one_line = " ".join(text.split())
    return re.sub(r"([\\`*_\[\]|<>#])", r"\\\1", one_line)
