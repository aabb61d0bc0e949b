"""What ``saeindex sae label`` reads, asks, runs and shows."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from saeindex.cli.corpus import embed
from saeindex.cli.output import print_json, progress_bar
from saeindex.cli.sae.transfer import check_target
from saeindex.errors import InvalidInputError
from saeindex.types import shown_label

if TYPE_CHECKING:
    from saeindex.features import FeatureSpace
    from saeindex.features.labelers import Labeler, Labeling, LabelingTask, LLMLabeler

SHOWN = 10
NAMED_BY_HAND = "named by hand"


def read_names(named: Sequence[str], file: Path | None) -> dict[int, str]:
    """Return labels by feature from ``ID=TEXT`` and from a file of JSON lines; the former win."""
    names = _names_in(file) if file is not None else {}
    for text in named:
        feature, is_there, label = text.partition("=")
        number = _number(feature)
        if number is None or not is_there:
            raise InvalidInputError(
                f"--set {text!r}", "not ID=TEXT", "For example: --set '1041=dark matter'."
            )
        names[number] = label
    return names


def _names_in(file: Path) -> dict[int, str]:
    from pydantic import BaseModel, ValidationError

    class Line(BaseModel, extra="forbid", strict=True):
        id: int
        label: str

    names = {}
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"--from {file}", str(error), "Give a file of JSON lines.") from error
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            line = Line.model_validate_json(text)
        except ValidationError as error:
            found = f"line {number}: {error.errors()[0]['msg']}"
            do = 'Write each line as {"id": 1041, "label": "dark matter"}.'
            raise InvalidInputError(f"--from {file}", found, do) from error
        names[line.id] = line.label
    return names


def read_features(listed: str | None, space: FeatureSpace) -> list[int]:
    """Return the features of ``1,2,5-9``, or all; UnknownConceptError for one that the space has not."""
    if listed is None:
        return list(range(space.n_features))
    wanted: list[int] = []
    for part in listed.split(","):
        first, is_range, last = part.partition("-")
        start, stop = _number(first), _number(last if is_range else first)
        if start is None or stop is None or stop < start:
            raise InvalidInputError(
                f"--features {listed}", f"{part!r} is no feature or range", "Write 1,2,5-9."
            )
        space.label(stop)
        wanted.extend(range(start, stop + 1))
    return sorted(set(wanted))


def target_of(space: str, into: Path | None) -> Path:
    """Return where the labelled space goes; InvalidInputError where that would overwrite a packaged one."""
    from saeindex.features.space_io import find_space

    if into is not None:
        check_target(into, is_space=True)
    target = (find_space(space) if into is None else into).resolve()
    if target.is_relative_to(Path(str(resources.files("saeindex"))).resolve()):
        raise InvalidInputError(
            f"label {space!r} in place", "it comes with the package", "Write a new one with --into NEW."
        )
    return target


def relabelled(
    space: FeatureSpace,
    texts: list[str],
    labeler: Labeler,
    features: Sequence[int],
    seed: int,
    *,
    is_agreed: bool,
    may_ask: bool,
) -> tuple[FeatureSpace, Labeling]:
    """Run a labeler on texts; one that costs money says how much before, and asks unless it ``is_agreed``."""
    from saeindex.features.labelers import Labeling, LLMLabeler, ManualLabeler
    from saeindex.features.labelling import labeling_task, with_labeling

    if isinstance(labeler, ManualLabeler) and not texts:
        return space.with_labels(labeler.names), Labeling(labeler.names)
    encoder = space.open_encoder()
    x = embed(texts, encoder)
    is_manual = isinstance(labeler, ManualLabeler)
    task = labeling_task(space, texts, x, encoder, features=features, seed=seed, keeps_manual=not is_manual)
    if isinstance(labeler, LLMLabeler):
        _agree(labeler, task, is_agreed, may_ask)
        labeling = _followed(labeler, task)
    else:
        labeling = labeler.label(task)
    kept = dict.fromkeys(set(features) - set(task.features), NAMED_BY_HAND)
    done = replace(labeling, left={**labeling.left, **kept})
    return with_labeling(space, task, labeling, labeler.method), done


def changed_features(before: FeatureSpace, after: FeatureSpace) -> list[int]:
    """Return the features whose label says something else, or was made by another method."""
    pairs = enumerate(zip(before.labels, after.labels, strict=True))
    return [i for i, (old, new) in pairs if (old.text, old.method) != (new.text, new.method)]


def show(before: FeatureSpace, after: FeatureSpace, done: Labeling, target: Path, as_json: bool) -> None:
    """Print what changed, what was left as it was and why, and how far labels can be trusted now."""
    from saeindex.features.trust import describe_summary
    from saeindex.llm.budget import shown_money

    changed = changed_features(before, after)
    if as_json:
        print_json(_described(before, after, changed, done, target))
        return
    print(f"{target}: {len(changed):,} labels changed, {len(done.left):,} left as they were")
    for feature in changed[:SHOWN]:
        old, new = before.labels[feature], after.labels[feature]
        trust = "" if new.trust is None else f", trust {new.trust:.2f}"
        was = shown_label(old.text, old.is_weak)
        print(f"  #{feature} {shown_label(new.text, new.is_weak)}{trust}; was {was}")
    for reason, count in Counter(done.left.values()).most_common():
        print(f"  {count:,} left: {reason}")
    print(f"  {describe_summary(after.report['labels'])}")
    spent = done.report.get("spent")
    if spent:
        money = "" if spent["money"] is None else f", {shown_money(spent['money'])}"
        tokens = f"{spent['input_tokens']:,} tokens in, {spent['output_tokens']:,} out"
        print(f"  {spent['requests']:,} requests: {tokens}{money}")


def _described(
    before: FeatureSpace, after: FeatureSpace, changed: Sequence[int], done: Labeling, target: Path
) -> dict[str, Any]:
    def changes(feature: int) -> dict[str, Any]:
        old, new = before.labels[feature], after.labels[feature]
        return {
            "id": feature,
            "before": {**old.to_json(), "is_weak": old.is_weak},
            **new.to_json(),
            "is_weak": new.is_weak,
            "evidence": done.evidence.get(feature),
        }

    return {
        "space": after.name,
        "into": str(target),
        "fingerprint": after.fingerprint,
        "changed": [changes(feature) for feature in changed],
        "left": [{"id": feature, "reason": reason} for feature, reason in sorted(done.left.items())],
        "labels": after.report["labels"],
        "run": dict(done.report),
    }


def _agree(labeler: LLMLabeler, task: LabelingTask, is_agreed: bool, may_ask: bool) -> None:
    """Say what a run will cost; go on where that is agreed to."""
    estimate = labeler.estimate(task)
    print(f"{labeler.model} at {labeler.host}: {estimate}", file=sys.stderr)
    if is_agreed or not estimate.requests:
        return
    if not (may_ask and sys.stdin.isatty()):
        raise InvalidInputError(
            "an LLM run", "nobody to ask whether to spend that", "Pass --yes to agree to it."
        )
    typer.confirm("Go on?", abort=True, err=True)


def _followed(labeler: LLMLabeler, task: LabelingTask) -> Labeling:
    with progress_bar("labelling", "features", len(task.features)) as bar:
        labeler.progress = lambda done, _: bar.update(1)
        return labeler.label(task)


def _number(text: str) -> int | None:
    digits = text.strip().removeprefix("#")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else None
