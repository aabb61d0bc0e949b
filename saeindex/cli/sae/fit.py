"""``saeindex sae fit``: fit a feature space to your own corpus, or to existing embeddings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saeindex.cli.corpus import embed, is_embeddings, read_embeddings, read_records
from saeindex.cli.output import Json, print_json, say
from saeindex.cli.sae.transfer import check_target
from saeindex.config import DEFAULT_ENCODER
from saeindex.errors import InvalidInputError
from saeindex.features.labels import TRUST_FLOOR
from saeindex.types import one_line, visible

if TYPE_CHECKING:
    from saeindex.features import FeatureSpace
    from saeindex.protocols import TextEncoder
    from saeindex.sae.train import TrainingStatus
    from saeindex.types import FloatArray

# Concepts that are shown for each kind of problem, and characters of their names.
SHOWN_CONCEPTS, NAME_CHARS = 10, 60
# How much larger the error on other texts may be than on fitted ones, before it is remarked on.
PARTED = 1.25
Corpus = Annotated[
    list[str],
    typer.Argument(help="Files or folders, as for `index`; or one .npy file of embeddings."),
]
Into = Annotated[Path, typer.Option(help="The directory of the new space.")]
Features = Annotated[int, typer.Option(min=2, help="Number of features.")]
Active = Annotated[int, typer.Option("--k", min=1, help="Active features per text.")]
Steps = Annotated[int | None, typer.Option(min=1, help="Training steps. Default: by the size of the corpus.")]
Views = Annotated[
    str, typer.Option(help="Views of texts to train on, comma-separated: whole, sentence, window, title.")
]
Prefixes = Annotated[
    str, typer.Option(help="Matryoshka prefix sizes, such as 256,1024: general features come first.")
]
Selection = Annotated[str, typer.Option(help="topk: exactly k per text. batchtopk: k on average.")]
Contrastive = Annotated[float, typer.Option(min=0.0, help="Weight of the contrastive term.")]
InputNoise = Annotated[float, typer.Option(min=0.0, help="Noise on the input, for generalisation.")]
ConceptPhrases = Annotated[
    list[str] | None, typer.Option("--concept", help="A phrase that becomes a feature. Repeatable.")
]
ConceptFile = Annotated[
    Path | None,
    typer.Option(help="Concepts that become features: CSV, JSON or SKOS with names, descriptions, examples."),
]
Free = Annotated[
    bool, typer.Option("--free", help="No named features: all are learnt from the corpus and then named.")
]
Faithful = Annotated[
    bool, typer.Option("--faithful", help="Choose features again when encoding: lower error, less stable.")
]
LabelsFrom = Annotated[
    Path | None,
    typer.Option(
        help="An earlier space, whose manual labels move to the matching features. Default: that at --into."
    ),
]
Encoder = Annotated[str, typer.Option(help="Encoder: a name, a path or openai:MODEL.")]
TextField = Annotated[str | None, typer.Option(help="Column of the text. Default: detected.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Use only this many texts.")]
Device = Annotated[str, typer.Option(help="Device to train on: auto, cpu or cuda.")]
Seed = Annotated[int, typer.Option(help="Seed of the random number generator.")]


def fit(  # noqa: PLR0913, PLR0917  (the options of a command)
    corpus: Corpus,
    into: Into,
    features: Features = 4_096,
    k: Active = 32,
    steps: Steps = None,
    views: Views = "whole",
    prefixes: Prefixes = "",
    selection: Selection = "topk",
    contrastive: Contrastive = 0.0,
    input_noise: InputNoise = 0.3,
    concepts: ConceptFile = None,
    concept: ConceptPhrases = None,
    free: Free = False,
    faithful: Faithful = False,
    labels_from: LabelsFrom = None,
    encoder: Encoder = DEFAULT_ENCODER,
    text_field: TextField = None,
    limit: Limit = None,
    device: Device = "auto",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Fit a space: train, calibrate and label it, and measure it on held-out documents.

    Embeddings are cached. An interrupted fit continues from its checkpoint when it is run again.
    """
    from saeindex.devices import choose_device
    from saeindex.encoders import open_encoder
    from saeindex.features import FeatureSpace
    from saeindex.features.taxonomy import read_taxonomy

    check_target(into, is_space=True)
    options = {
        "n_features": features,
        "k": k,
        "steps": steps,
        "prefixes": tuple(_numbers(prefixes)),
        "selection": selection,
        "contrastive_weight": contrastive,
        "input_noise": input_noise,
        "device": choose_device(device),
        "seed": seed,
    }
    opened = open_encoder(encoder)
    extras = {"faithful": faithful, "checkpoint": into.with_name(f".{into.name}.checkpoint.safetensors")}
    if is_embeddings(corpus):
        if concepts or concept or labels_from or views != "whole":
            raise InvalidInputError(
                "concepts, labels or views of embeddings",
                f"no texts in {corpus[0]}",
                "Give the texts of the corpus.",
            )
        space = _fit_embeddings(read_embeddings(corpus[0], limit), opened, options, extras, into.name)
    else:
        records = read_records(corpus, text_field, limit)
        if labels_from is None and (into / "space.json").is_file():
            labels_from = into  # a space that is fitted again keeps the labels given by hand
        earlier = None if labels_from is None else FeatureSpace.load(labels_from)
        wanted = [*(read_taxonomy(concepts) if concepts else ()), *(concept or ())]
        if free and wanted:
            do = "Leave out --free: what the concepts leave is learnt by free features."
            raise InvalidInputError("--free with concepts", "they exclude each other", do)
        named = [] if free else wanted or None
        extras |= {"views": tuple(views.split(",")), "concepts": named, "labels_from": earlier}
        space = _fit_texts(records, opened, options, extras, into.name)
    space.save(into)
    _report(space, into, as_json)


def _fit_texts(
    records: list[Any], encoder: TextEncoder, options: dict[str, Any], extras: dict[str, Any], name: str
) -> FeatureSpace:
    from saeindex.features import FeatureSpace
    from saeindex.features.fitting import draw_views

    texts, groups = draw_views(records, extras.pop("views"), options["seed"])
    config = _config(options, len(texts))
    embeddings = embed(texts, encoder)
    from saeindex.indexing.pipeline import progress_bar

    with progress_bar("training", "steps", config.steps + config.refined_steps) as bar:
        return FeatureSpace.fit(
            texts,
            groups=groups,
            encoder=encoder,
            embeddings=embeddings,
            config=config,
            name=name,
            progress=_follow(bar),
            **extras,
        )


def _fit_embeddings(
    x: FloatArray, encoder: TextEncoder, options: dict[str, Any], extras: dict[str, Any], name: str
) -> FeatureSpace:
    from saeindex.features import FeatureSpace
    from saeindex.features.fitting import ANNOTATED_TEXTS, train_and_measure
    from saeindex.sae.batches import sample

    if x.shape[1] != encoder.identity.dimension:
        raise InvalidInputError(
            f"embeddings of dimension {x.shape[1]}",
            f"encoder {encoder.identity.model!r} has dimension {encoder.identity.dimension}",
            "Name the encoder of these embeddings with --encoder.",
        )
    config = _config(options, len(x))
    from saeindex.indexing.pipeline import progress_bar

    with progress_bar("training", "steps", config.steps + config.refined_steps) as bar:
        sae, report = train_and_measure(x, config, progress=_follow(bar), **extras)
    vectors = sample(x, ANNOTATED_TEXTS, config.seed)
    return FeatureSpace.unlabelled(sae, encoder.identity, name=name, report=report, vectors=vectors)


def _config(options: dict[str, Any], texts: int) -> Any:
    from saeindex.features.fitting import HELD_OUT_SHARE
    from saeindex.sae.training_config import TrainingConfig, suitable_steps

    config = TrainingConfig(**options | {"steps": options["steps"] or suitable_steps(texts)})
    config.check(texts - int(texts * HELD_OUT_SHARE))
    return config


def _follow(bar: Any) -> Callable[[TrainingStatus], None]:
    def follow(status: TrainingStatus) -> None:
        held_out = "" if status.held_out is None else f"{status.held_out:.3f}"
        seen = {"nmse": f"{status.error:.3f}", "held_out": held_out, "dead": f"{status.dead_share:.1%}"}
        bar.set_postfix(seen, refresh=False)
        bar.update(status.step - bar.n)

    return follow


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
