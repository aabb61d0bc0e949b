"""``saeindex sae fit``: fit a feature space to your own corpus, or to existing embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saeindex.cli.corpus import (
    Limit,
    Seed,
    TextField,
    check_target,
    embed,
    followed,
    is_embeddings,
    read_embeddings,
    read_records,
    read_texts,
)
from saeindex.cli.output import Json, answer, print_json, say
from saeindex.config import DEFAULT_ENCODER
from saeindex.devices import choose_device
from saeindex.errors import InvalidInputError
from saeindex.features import FeatureSpace
from saeindex.features.labels import TRUST_FLOOR
from saeindex.sae.training_config import TrainingConfig, suitable_steps
from saeindex.types import one_line, visible

if TYPE_CHECKING:
    from saeindex.sae.train import TrainingStatus

# Concepts that are shown for each kind of problem, and characters of their names.
SHOWN_CONCEPTS, NAME_CHARS = 10, 60
# Steps of the training of a reader: texts have thousands of tokens, so that their number says little.
READER_STEPS = 3_000
# How much larger the error on other texts may be than on fitted ones, before it is remarked on.
PARTED = 1.25


def fit(  # noqa: PLR0913, PLR0917  (the options of a command)
    corpus: Annotated[
        list[str], typer.Argument(help="Files or folders, as for `index`; or one .npy file of embeddings.")
    ],
    into: Annotated[Path, typer.Option(help="The directory of the new space.")],
    features: Annotated[int, typer.Option(min=2, help="Number of features.")] = 4_096,
    k: Annotated[
        int | None, typer.Option(min=1, help="Active features per text: 32 by default; of a token, 16.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Training steps. Default: by the size of the corpus.")
    ] = None,
    views: Annotated[
        str, typer.Option(help="Views of texts to train on, comma-separated: whole, sentence, window, title.")
    ] = "whole",
    prefixes: Annotated[
        str, typer.Option(help="Matryoshka prefix sizes, such as 256,1024: general features come first.")
    ] = "",
    selection: Annotated[
        str, typer.Option(help="topk: exactly k per text. batchtopk: k on average.")
    ] = "topk",
    contrastive: Annotated[float, typer.Option(min=0.0, help="Weight of the contrastive term.")] = 0.0,
    input_noise: Annotated[
        float, typer.Option(min=0.0, help="Noise on the input, for generalisation.")
    ] = 0.3,
    concepts: Annotated[
        Path | None,
        typer.Option(
            help="Concepts that become features: CSV, JSON or SKOS with names, descriptions, examples."
        ),
    ] = None,
    concept: Annotated[
        list[str] | None, typer.Option(help="A phrase that becomes a feature. Repeatable.")
    ] = None,
    free: Annotated[
        bool, typer.Option("--free", help="No named features: all are learnt from the corpus and then named.")
    ] = False,
    reader: Annotated[
        str | None,
        typer.Option(
            help="Fit a reader: features of tokens of this encoder, or of a language model: NAME:LAYER."
        ),
    ] = None,
    faithful: Annotated[
        bool,
        typer.Option("--faithful", help="Choose features again when encoding: lower error, less stable."),
    ] = False,
    labels_from: Annotated[
        Path | None,
        typer.Option(
            help="An earlier space, whose manual labels move to matching features. Default: that at --into."
        ),
    ] = None,
    encoder: Annotated[str, typer.Option(help="Encoder: a name, a path or openai:MODEL.")] = DEFAULT_ENCODER,
    text_field: TextField = None,
    limit: Limit = None,
    device: Annotated[str, typer.Option(help="Device to train on: auto, cpu or cuda.")] = "auto",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Fit a space: train, calibrate and label it, and measure it on held-out documents.

    Embeddings are cached. An interrupted fit continues from its checkpoint when it is run again.
    """
    from saeindex.encoders import open_encoder
    from saeindex.features.fitting import ANNOTATED_TEXTS, HELD_OUT_SHARE, draw_views, train_and_measure
    from saeindex.features.taxonomy import read_taxonomy
    from saeindex.sae.batches import sample

    check_target(into, is_space=True)
    if reader is not None:
        others = faithful, free, concepts, concept, labels_from, views != "whole", is_embeddings(corpus)
        if any(others):
            found = "options or files of a space of whole texts"
            raise InvalidInputError(f"--reader {reader:.80}", found, "Leave them out.")
        _fit_reader(reader, read_texts(corpus, text_field, limit), into, features, k, steps, seed, as_json)
        return
    options: dict[str, Any] = {
        "n_features": features, "k": k or 32, "prefixes": tuple(_numbers(prefixes)), "selection": selection,
        "contrastive_weight": contrastive, "input_noise": input_noise, "device": choose_device(device),
        "seed": seed,
    }  # fmt: skip

    def config_of(texts: int) -> TrainingConfig:
        config = TrainingConfig(**options, steps=steps or suitable_steps(texts))
        config.check(texts - int(texts * HELD_OUT_SHARE))
        return config

    opened, name = open_encoder(encoder), into.name
    extras: Any = {"faithful": faithful, "checkpoint": into.with_name(f".{name}.checkpoint.safetensors")}
    if is_embeddings(corpus):
        if concepts or concept or labels_from or views != "whole":
            asked, do = "concepts, labels or views of embeddings", "Give the texts of the corpus."
            raise InvalidInputError(asked, f"no texts in {corpus[0]}", do)
        x, identity = read_embeddings(corpus[0], limit), opened.identity
        if x.shape[1] != identity.dimension:
            found = f"encoder {identity.model!r} has dimension {identity.dimension}"
            do = "Name the encoder of these embeddings with --encoder."
            raise InvalidInputError(f"embeddings of dimension {x.shape[1]}", found, do)
        config = config_of(len(x))
        with training_bar(config) as follow:
            sae, report = train_and_measure(x, config, progress=follow, **extras)
        vectors = sample(x, ANNOTATED_TEXTS, seed)
        space = FeatureSpace.unlabelled(sae, identity, name=name, report=report, vectors=vectors)
    else:
        records = read_records(corpus, text_field, limit)
        if labels_from is None and (into / "space.json").is_file():
            labels_from = into  # a space that is fitted again keeps the labels given by hand
        earlier = None if labels_from is None else FeatureSpace.load(labels_from)
        wanted = [*(read_taxonomy(concepts) if concepts else ()), *(concept or ())]
        if free and wanted:
            do = "Leave out --free: what the concepts leave is learnt by free features."
            raise InvalidInputError("--free with concepts", "they exclude each other", do)
        texts, groups = draw_views(records, tuple(views.split(",")), seed)
        config = config_of(len(texts))
        x = embed(texts, opened)
        with training_bar(config) as follow:
            space = FeatureSpace.fit(
                texts, groups=groups, encoder=opened, embeddings=x, config=config, name=name,
                progress=follow, concepts=[] if free else wanted or None, labels_from=earlier, **extras,
            )  # fmt: skip
    space.save(into)
    _report(space, into, as_json)


def _fit_reader(
    encoder: str,
    texts: list[str],
    into: Path,
    features: int,
    k: int | None,
    steps: int | None,
    seed: int,
    as_json: bool,
) -> None:
    """Fit a reader to the tokens of texts, save it, and say what was measured."""
    from saeindex.encoders import open_encoder
    from saeindex.encoders.causal import CausalReader, name_and_layer
    from saeindex.features.reader_fitting import fit_reader

    # A token needs half as many features as a text, and a threshold takes no ranking of them all.
    config = TrainingConfig(
        n_features=features, k=k or 16, steps=steps or READER_STEPS, selection="batchtopk",
        refine_steps=0, refined_phase=0.0, seed=seed,
    )  # fmt: skip
    name, layer = name_and_layer(encoder)
    opened = open_encoder(encoder) if layer is None else CausalReader(name, layer)
    checkpoint = into.with_name(f".{into.name}.checkpoint.safetensors")
    with training_bar(config) as follow:
        made = fit_reader(texts, opened, config, name=into.name, checkpoint=checkpoint, progress=follow)
    made.save(into)
    held_out, named = made.report["held_out"], int(made.is_named.sum())
    described = {"reader": str(into), "fingerprint": made.fingerprint, "n_features": features, **made.report}
    said = (
        f"{into}: {features:,} features of tokens, {held_out['active']:.1f} active, {named:,} with a name "
        f"that predicts them; held out: NMSE {held_out['nmse']:.3f}\n"
        f"Use it: saeindex index FILES --into NAME --reader {into}"
    )
    answer(described, said, as_json)


@contextmanager
def training_bar(config: TrainingConfig) -> Iterator[Callable[[TrainingStatus], None]]:
    """Yield what shows the progress of a training."""

    def follow(status: TrainingStatus) -> None:
        seen = {"nmse": f"{status.error:.3f}", "dead": f"{status.dead_share:.1%}"}
        if status.held_out is not None:
            seen["held_out"] = f"{status.held_out:.3f}"
        bar.set_postfix(seen, refresh=False)
        bar.update(status.step - bar.n)

    with followed("training", "steps", config.all_steps) as bar:
        yield follow


def _numbers(listed: str) -> list[int]:
    try:
        return [int(number) for number in listed.split(",") if number.strip()]
    except ValueError as error:
        raise InvalidInputError(f"--prefixes {listed}", "not numbers", "Write them as 256,1024.") from error


def _report(space: FeatureSpace, into: Path, as_json: bool) -> None:
    trusted = int((~space.has_weak_label).sum())
    if as_json:
        described = {"n_features": space.n_features, "k": space.sae.k, "trusted_labels": trusted}
        print_json({"space": str(into), "fingerprint": space.fingerprint, **described, **space.report})
        return
    from saeindex.features.trust import describe_summary

    held_out = space.report["held_out"]
    say(
        f"{into}: {space.n_features:,} features, {space.sae.k} active; held out: "
        f"NMSE {held_out['nmse']:.3f}, cosine {held_out['cosine']:.3f}; {trusted:,} labels trusted"
    )
    if (fitted := space.report["fitted_nmse"]) * PARTED < held_out["nmse"]:
        say(
            f"  On texts that it was fitted on, NMSE is {fitted:.3f}: they are too few for so many features. "
            "Fit on more texts, or fewer features."
        )
    if "labels" in space.report:  # a space that was fitted on embeddings has no labels
        say(f"  {describe_summary(space.report['labels'])}")
    _report_concepts(space.report.get("concepts", []))
    say(f"Use it: saeindex index FILES --into NAME --space {into}")


def _report_concepts(concepts: Sequence[Mapping[str, Any]]) -> None:
    """Say which concepts are features, and show those that are not, or that the encoder confuses."""
    if not concepts:
        return
    lost = [one for one in concepts if one["problem"]]
    say(f"  {len(concepts) - len(lost):,} of {len(concepts):,} concepts are features by their names")
    for one in lost[:SHOWN_CONCEPTS]:
        say(f"    {one_line(one['name'], NAME_CHARS)}: {visible(one['problem'])}")
    if lost[SHOWN_CONCEPTS:]:
        say(f"    and {len(lost) - SHOWN_CONCEPTS:,} more (--json shows all)")
    rated = [one for one in concepts if one.get("told_apart") is not None]
    if not rated:
        return
    unclear = sorted((one for one in rated if one["told_apart"] < TRUST_FLOOR), key=itemgetter("told_apart"))
    say(
        f"  {len(rated) - len(unclear):,} of {len(rated):,} with examples are told apart: "
        f"an example resembles its own concept more than others' examples do (AUROC ≥ {TRUST_FLOOR})"
    )
    for one in unclear[:SHOWN_CONCEPTS]:
        names = (one_line(one[key], NAME_CHARS) for key in ("name", "nearest"))
        say("    {}: {:.2f}; the nearest is {}".format(next(names), one["told_apart"], next(names)))
