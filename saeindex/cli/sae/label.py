"""``saeindex sae label``: name features by words, by a language model, or by hand."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import BaseModel, ValidationError

from saeindex.cli.corpus import Limit, Seed, Space, TextField, check_target, embed, followed, read_texts
from saeindex.cli.output import Json, print_json, say
from saeindex.errors import InvalidInputError
from saeindex.features import FeatureSpace
from saeindex.features.space_io import find_space
from saeindex.types import shown_label

if TYPE_CHECKING:
    from saeindex.features.labelers import Labeler, Labeling, LabelingTask, LLMLabeler

LEXICAL, LLM, MANUAL = METHODS = "lexical", "llm", "manual"
SHOWN = 10
NAMED_BY_HAND = "named by hand"
NAMED_BY_CONCEPT = "named by a concept: give its number with --features to replace the name"


def label(  # noqa: PLR0913, PLR0917  (the options of a command)
    space: Space,
    corpus: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CORPUS]...", help="Texts, as for `index`; 70 % make labels."),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(help="lexical, llm or manual. Default: manual with --set or --from, else lexical."),
    ] = None,
    named: Annotated[
        list[str] | None, typer.Option("--set", metavar="ID=TEXT", help="A manual label. Repeatable.")
    ] = None,
    names_file: Annotated[
        Path | None,
        typer.Option("--from", help='File of manual labels: lines of {"id": 1041, "label": "dark matter"}.'),
    ] = None,
    features: Annotated[str | None, typer.Option(help="Label only these features: 1,2,5-9.")] = None,
    url: Annotated[
        str | None, typer.Option(help="OpenAI-compatible service (env: OPENAI_BASE_URL, OPENAI_API_KEY).")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model that writes labels.")] = None,
    predictor_model: Annotated[
        str | None, typer.Option(help="Model that tests labels. Default: --model.")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Maximum tokens, input and output.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Concurrent requests.")] = 4,
    cache: Annotated[
        Path | None,
        typer.Option(help="Directory of cached replies. Default: $SAEINDEX_CACHE or ~/.cache/saeindex."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Start without asking for consent to the cost.")] = False,
    into: Annotated[
        Path | None, typer.Option(help="Directory of the labelled space. Default: change SPACE.")
    ] = None,
    text_field: TextField = None,
    limit: Limit = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Label features again; manual labels are kept. The fingerprint and existing indexes do not change.

    Names of concepts are kept unless --features names their features.
    Labels are made from 70 % of the texts, and their trust is measured on the other texts. An LLM run
    prints its cost and asks before it starts. Replies are cached, so an interrupted run can be continued.
    Without a corpus, the LLM reads the definitions of the concepts that the space has.
    """
    from saeindex.encoders.cache import EmbeddingCache
    from saeindex.features.labelers import LexicalLabeler, LLMLabeler, ManualLabeler

    names = _names(named or [], names_file)
    chosen = _checked_method(method, bool(names), bool(corpus), features)
    target = _target(space, into)
    before = FeatureSpace.load(space)
    wanted = sorted(names) if chosen == MANUAL else _features(features, before)
    labeler: Labeler = ManualLabeler(names) if chosen == MANUAL else LexicalLabeler()
    if chosen == LLM:
        if not model:
            do = "Name one of the service's models with --model."
            raise InvalidInputError("--method llm", "no model", do)
        labeler = LLMLabeler(
            model, predictor_model=predictor_model, base_url=url, concurrency=concurrency,
            cache=cache or EmbeddingCache().folder.with_name("labels"), max_tokens=max_tokens,
        )  # fmt: skip
    has_texts = corpus or chosen != LLM
    texts = read_texts(corpus or [], text_field, limit) if has_texts else _glosses(before, limit)
    after, done = _relabelled(before, texts, labeler, wanted, seed, yes, as_json)
    after.save(target)
    pairs = enumerate(zip(before.labels, after.labels, strict=True))
    changed = [i for i, (old, new) in pairs if (old.text, old.method) != (new.text, new.method)]
    if as_json:
        print_json(_described(before, after, changed, done, target))
    else:
        _show(before, after, changed, done, target)
    if not changed:
        raise typer.Exit(1)


def _checked_method(method: str | None, has_names: bool, has_corpus: bool, features: str | None) -> str:
    """Return the method of the options; InvalidInputError if the options contradict each other."""
    chosen = method or (MANUAL if has_names else LEXICAL)
    asked = f"--method {chosen}"
    if chosen not in METHODS:
        raise InvalidInputError(asked, "no such method", f"Use {', '.join(METHODS)}.")
    if (chosen == MANUAL) != has_names:
        found = "manual labels" if has_names else "neither --set nor --from"
        raise InvalidInputError(asked, found, "Give --set or --from with --method manual, and only with it.")
    if chosen == MANUAL and features:
        raise InvalidInputError("--features", "manual labels name their features", "Leave the option out.")
    if chosen == LEXICAL and not has_corpus:
        raise InvalidInputError(asked, "no texts", "Name a corpus after the space.")
    return chosen


def _glosses(space: FeatureSpace, limit: int | None) -> list[str]:
    """Return the texts that a space brings itself; InvalidInputError if there are none."""
    from saeindex.features.labelling import glosses

    if not (found := glosses(space)[:limit]):
        found_none = f"no texts, and space {space.name!r} has no definitions of concepts"
        raise InvalidInputError("--method llm", found_none, "Name a corpus after the space.")
    return found


def _names(named: Sequence[str], file: Path | None) -> dict[int, str]:
    """Return labels by feature, from a file of JSON lines and from ``ID=TEXT``, which takes priority."""
    names = _names_in(file) if file is not None else {}
    for text in named:
        feature, is_there, label = text.partition("=")
        number = _number(feature)
        if number is None or not is_there:
            do = "For example: --set '1041=dark matter'."
            raise InvalidInputError(f"--set {text!r}", "not ID=TEXT", do)
        names[number] = label
    return names


def _names_in(file: Path) -> dict[int, str]:
    class Line(BaseModel, extra="forbid", strict=True):
        id: int
        label: str

    names, number = {}, 0
    try:
        for text in file.read_text("utf-8-sig").split("\n"):
            number += 1
            if text.strip():
                line = Line.model_validate_json(text)
                names[line.id] = line.label
    except ValidationError as error:
        found = f"line {number}: {error.errors()[0]['msg']}"
        do = 'Write each line as {"id": 1041, "label": "dark matter"}.'
        raise InvalidInputError(f"--from {file}", found, do) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"--from {file}", str(error), "Give a file of JSON lines.") from error
    return names


def _features(listed: str | None, space: FeatureSpace) -> list[int] | None:
    """Return the ids in ``1,2,5-9``, None of nothing; UnknownConceptError if the space lacks a feature."""
    if listed is None:
        return None
    wanted = set[int]()
    for part in listed.split(","):
        first, is_range, last = part.partition("-")
        start, stop = _number(first), _number(last if is_range else first)
        if start is None or stop is None or stop < start:
            found = f"{part!r} is not a feature or a range"
            raise InvalidInputError(f"--features {listed}", found, "Write 1,2,5-9.")
        space.label(stop)
        wanted.update(range(start, stop + 1))
    return sorted(wanted)


def _target(space: str, into: Path | None) -> Path:
    """Return the directory of the labelled space; InvalidInputError if it is in the package."""
    if into is not None:
        check_target(into, is_space=True)
    target = (find_space(space) if into is None else into).resolve()
    if target.is_relative_to(Path(str(resources.files("saeindex"))).resolve()):
        do = "Write a new space with --into NEW."
        raise InvalidInputError(f"label {space!r} in place", "it is part of the package", do)
    return target


def _relabelled(
    space: FeatureSpace,
    texts: list[str],
    labeler: Labeler,
    features: Sequence[int] | None,
    seed: int,
    is_agreed: bool,
    as_json: bool,
) -> tuple[FeatureSpace, Labeling]:
    """Run a labeler on texts; an LLM labeler first prints its cost and asks, unless ``is_agreed``."""
    from saeindex.features.labelers import Labeling, LLMLabeler, ManualLabeler
    from saeindex.features.labelling import better, labeling_task, with_labeling

    is_manual = isinstance(labeler, ManualLabeler)
    if isinstance(labeler, ManualLabeler) and not texts:
        return space.with_labels(labeler.names), Labeling(labeler.names)
    encoder = space.open_encoder()
    x = embed(texts, encoder)
    task = labeling_task(space, texts, x, encoder, features=features, seed=seed, keeps_manual=not is_manual)
    if isinstance(labeler, LLMLabeler):
        _agree(labeler, task, is_agreed, as_json)
        with followed("labelling", "features", len(task.features)) as bar:
            labeler.progress = lambda done, _: bar.update(1)
            labeling = labeler.label(task)
    else:
        labeling = labeler.label(task)
    labeling = better(space, task, labeling, labeler.method)
    kept = {
        feature: NAMED_BY_HAND if space.labels[feature].method == MANUAL else NAMED_BY_CONCEPT
        for feature in set(range(space.n_features) if features is None else features) - set(task.features)
    }
    done = replace(labeling, left={**labeling.left, **kept})
    return with_labeling(space, task, done, labeler.method), done


def _show(
    before: FeatureSpace, after: FeatureSpace, changed: Sequence[int], done: Labeling, target: Path
) -> None:
    """Print the changed labels, the unchanged labels with reasons, and a summary of the trust in labels."""
    from saeindex.features.trust import describe_summary

    say(f"{target}: {len(changed):,} labels changed, {len(done.left):,} left as they were")
    for feature in changed[:SHOWN]:
        old, new = before.labels[feature], after.labels[feature]
        trust = "" if new.trust is None else f", trust {new.trust:.2f}"
        was = shown_label(old.text, old.is_weak)
        say(f"  #{feature} {shown_label(new.text, new.is_weak)}{trust}; was {was}")
    for reason, count in Counter(done.left.values()).most_common():
        say(f"  {count:,} left: {reason}")
    say(f"  {describe_summary(after.report['labels'])}")
    if spent := done.report.get("spent"):
        tokens = f"{spent['input_tokens']:,} tokens in, {spent['output_tokens']:,} out"
        say(f"  {spent['requests']:,} requests: {tokens}")


def _described(
    before: FeatureSpace, after: FeatureSpace, changed: Sequence[int], done: Labeling, target: Path
) -> dict[str, Any]:
    def written(space: FeatureSpace, feature: int) -> dict[str, Any]:
        label = space.labels[feature]
        return {**label.to_json(), "is_weak": label.is_weak}

    return {
        "space": after.name,
        "into": str(target),
        "fingerprint": after.fingerprint,
        "changed": [
            {"id": i, "before": written(before, i), **written(after, i), "evidence": done.evidence.get(i)}
            for i in changed
        ],
        "left": [{"id": feature, "reason": reason} for feature, reason in sorted(done.left.items())],
        "labels": after.report["labels"],
        "run": dict(done.report),
    }


def _agree(labeler: LLMLabeler, task: LabelingTask, is_agreed: bool, as_json: bool) -> None:
    """Print the cost of a run and ask for agreement, unless given; InvalidInputError if it cannot ask."""
    estimate = labeler.estimate(task)
    say(f"{labeler.model} at {labeler.host}: {estimate}", is_error=True)
    if is_agreed or not estimate.requests:
        return
    if as_json or not sys.stdin.isatty():
        do = "Pass --yes to agree to the cost."
        raise InvalidInputError("an LLM run", "no terminal to confirm the cost", do)
    typer.confirm("Continue?", abort=True, err=True)


def _number(text: str) -> int | None:
    digits = text.strip().removeprefix("#")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else None
