"""The files of a feature space on the Hugging Face hub, its model card, and the refusals of the hub.

No message of ours contains a token or the text of the original error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from saeindex.errors import InvalidInputError, SaeIndexError

if TYPE_CHECKING:
    from saeindex.features.space import Space

CARD = "README.md"
FILES = (
    "space.json", "sae.safetensors", "calibration.safetensors", "labels.jsonl", "labels.safetensors",
    "families.json", "evidence.safetensors", "words.txt", CARD,
)  # fmt: skip


def asked_of_hub(call: Callable[[], str], asked: str, kind: type[SaeIndexError], do: str) -> str:
    """Return what a call of the hub does; its refusals are errors of ours, which do not quote the request."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    problem: SaeIndexError
    try:
        return call()
    except HFValidationError:
        problem = InvalidInputError(asked, "not the name of a repository", "Give USER/NAME.")
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        problem = kind(asked, f"{type(error).__name__}{f', HTTP {status}' if status else ''}", do)
    raise problem  # outside the except block: the hub's own error could quote the request


def model_card(space: Space, repo_id: str) -> str:
    """Return README.md of a space: what it is, how it is loaded, and the figures that were measured."""
    encoder, report = space.encoder, space.report
    is_on_hub = re.fullmatch(r"[\w.-]+/[\w.-]+", encoder.model)
    base = f"base_model: {encoder.model}\n" if is_on_hub else ""
    named = sum(not label.is_weak for label in space.labels)
    measured = {"held-out texts": report.get("held_out"), **(report.get("by_corpus") or {})}
    known = {name: values for name, values in measured.items() if isinstance(values, Mapping) and values}
    columns = list(dict.fromkeys(key for values in known.values() for key in values))
    rows = [["corpus", *columns], ["---"] * (len(columns) + 1)] if known else []
    rows += [[name, *(_figure(values.get(key)) for key in columns)] for name, values in known.items()]
    parts = [
        f"---\nlicense: apache-2.0\nlibrary_name: saeindex\npipeline_tag: feature-extraction\n{base}"
        "tags: [saeindex, sparse-autoencoder, interpretability]\n---",
        f"# {_on_one_line(space.name)}",
        f"A feature space for saeindex over {encoder.model} ({encoder.dimension} dimensions, "
        f"{encoder.max_length} tokens): {space.n_features:,} features, at most {space.sae.k} active in a "
        f"text; {named:,} have a name that says what they mean. Fingerprint `{space.fingerprint}`.",
        "```python\nfrom saeindex import FeatureIndex, FeatureSpace\n\n"
        f'space = FeatureSpace.from_pretrained("{repo_id}")\n'
        'index = FeatureIndex.create("papers.idx", space=space)\n```',
        "\n".join(f"| {' | '.join(map(_on_one_line, row))} |" for row in rows),
        *map(_on_one_line, report.get("attribution", ())),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _figure(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value if value is not None else "")


def _on_one_line(text: str) -> str:
    """Return external text on one line, with the characters of Markdown and HTML escaped."""
    return re.sub(r"([\\`*_\[\]|<>#])", r"\\\1", " ".join(text.split()))
