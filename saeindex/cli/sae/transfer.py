"""``saeindex sae import``, ``export`` and ``map``: exchange spaces with other libraries, match two spaces."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saeindex.cli.corpus import read_texts
from saeindex.cli.output import Json, print_json, say
from saeindex.config import DEFAULT_ENCODER
from saeindex.errors import InvalidInputError, MismatchError
from saeindex.files import replacing_folder
from saeindex.types import shown_label

if TYPE_CHECKING:
    from saeindex.features import FeatureSpace
    from saeindex.features.space_map import SpaceMapping
    from saeindex.protocols import TextEncoder
    from saeindex.sae.importers import ImportedAutoencoder

Into = Annotated[Path, typer.Option(help="Directory to write.")]
Texts = Annotated[list[str] | None, typer.Option(help="Texts, as for `index`. Repeatable.")]
TextField = Annotated[str | None, typer.Option(help="Column of the text. Default: detected.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Use only this many texts.")]
Foreign = Annotated[Path, typer.Argument(help="Folder or .pt file of the other library.")]
ForeignFormat = Annotated[str, typer.Option(help="auto, saelens, sparsify, saerch or sentence-transformers.")]
MaxActive = Annotated[
    int | None, typer.Option("--k", min=1, help="Maximum active features per text, if the file has none.")
]
RefineSteps = Annotated[
    int, typer.Option(min=0, help="Refinement steps of the activations; 0 keeps them as they are.")
]
Encoder = Annotated[str, typer.Option(help="Encoder that it was trained on.")]
Name = Annotated[str | None, typer.Option(help="Name of the space. Default: name of the directory.")]
Unlabelled = Annotated[
    bool, typer.Option("--unlabelled", help="Import without texts: no labels, levels or report.")
]
SpaceToExport = Annotated[
    str, typer.Argument(metavar="SPACE", help="A feature space: a name or a directory.")
]
ExportFormat = Annotated[str, typer.Option(help="saeindex (with a model card), saelens or sparsify.")]
Old = Annotated[str, typer.Argument(help="The space with labels.")]
New = Annotated[str, typer.Argument(help="The space that replaces it.")]
Threshold = Annotated[float, typer.Option(help="Minimum similarity of a pair, 0 to 1.")]
Carried = Annotated[Path | None, typer.Option(help="Directory to write NEW to, with the labels of OLD.")]
SHOWN = 10


def import_(
    path: Foreign,
    into: Into,
    format: ForeignFormat = "auto",
    k: MaxActive = None,
    refine_steps: RefineSteps = 0,
    encoder: Encoder = DEFAULT_ENCODER,
    name: Name = None,
    texts: Texts = None,
    unlabelled: Unlabelled = False,
    text_field: TextField = None,
    limit: Limit = None,
    as_json: Json = False,
) -> None:
    """Make a feature space from an autoencoder of another library; texts calibrate, label and measure it."""
    from saeindex.encoders import open_encoder
    from saeindex.sae.importers import read_autoencoder

    _check_purpose(path, texts, unlabelled)
    check_target(into, is_space=True)
    imported = read_autoencoder(path, format, k=k)
    imported.autoencoder.refine_steps = refine_steps
    opened = open_encoder(encoder)
    _check_dimension(imported, opened)
    space = make_space(imported, opened, read_texts(texts or [], text_field, limit), name or into.name)
    space.save(into)
    notes = [*imported.notes, *_doubts(space)]
    if as_json:
        print_json({**_described(space, into), "imported": space.report["imported"], "notes": notes})
        return
    source = f"{imported.format} ({imported.activation}, k={imported.k})"
    say(f"{into}: {space.n_features:,} features from {source}")
    _print_notes(notes, space)


def export(
    space: SpaceToExport, into: Into, format: ExportFormat = "saeindex", as_json: Json = False
) -> None:
    """Write a space to share, or its autoencoder in another library's format (weights only)."""
    from saeindex.features import FeatureSpace
    from saeindex.features.hub import CARD, model_card

    check_target(into, is_space=format == "saeindex")
    loaded = FeatureSpace.load(space)
    notes: list[str] = []
    if format == "saeindex":
        (loaded.save(into) / CARD).write_text(model_card(loaded, loaded.name))
    else:
        notes = _export_weights(loaded, into, format)
    files = sorted(path.name for path in into.iterdir())
    if as_json:
        print_json({**_described(loaded, into), "format": format, "files": files, "notes": notes})
        return
    say(f"{into}: {', '.join(files)}")
    for note in notes:
        say(f"  {note}")


def map_(
    old: Old,
    new: New,
    texts: Texts = None,
    threshold: Threshold = 0.7,
    into: Carried = None,
    text_field: TextField = None,
    limit: Limit = None,
    as_json: Json = False,
) -> None:
    """Match the features of two spaces, with texts also by their activations; list lost features."""
    from saeindex.features import FeatureSpace
    from saeindex.features.space_map import carry_labels, map_spaces

    before, after = FeatureSpace.load(old), FeatureSpace.load(new)
    if into is not None:
        check_target(into, is_space=True)
    corpus = read_texts(texts or [], text_field, limit)
    vectors = before.open_encoder().encode_document(corpus) if corpus else None
    mapping = map_spaces(before, after, vectors, threshold=threshold)
    carried = carry_labels(before, after, mapping)
    changed = sum(a != b for a, b in zip(carried.labels, after.labels, strict=True))
    if into is not None:
        carried.save(into)
    if as_json:
        print_json({"old": old, "new": new, "labels_carried": changed, **mapping.to_json()})
    else:
        _print_mapping(mapping, changed, into)
    if not mapping.matches:
        raise typer.Exit(1)


def make_space(
    imported: ImportedAutoencoder, encoder: TextEncoder, texts: list[str], name: str
) -> FeatureSpace:
    """Return the space of an imported autoencoder; without texts it has neither labels nor levels."""
    from saeindex.features import FeatureSpace
    from saeindex.sae.metrics import fidelity

    source = {"format": imported.format, "activation": imported.activation, "k": imported.k}
    report: dict[str, Any] = {"imported": source, "held_out_texts": len(texts)}
    if not texts:
        return FeatureSpace.unlabelled(imported.autoencoder, encoder.identity, name=name, report=report)
    x = encoder.encode_document(texts)
    report["held_out"] = fidelity(imported.autoencoder.half(), x, x.mean(0))
    return FeatureSpace.annotate(imported.autoencoder, texts, x, encoder, name=name, report=report)


def _export_weights(space: FeatureSpace, into: Path, format: str) -> list[str]:
    """Write to a temporary directory, then rename it, so that no partial export is left behind."""
    from saeindex.sae.importers import export_autoencoder

    with replacing_folder(into) as draft:
        notes = export_autoencoder(space.sae, draft, format)
    return [*notes, "labels, levels and the encoder's identity are not exported"]


def check_target(into: Path, is_space: bool) -> None:
    """Raise InvalidInputError for a directory with other files; a space may replace a space."""
    is_replaced = is_space and (into / "space.json").is_file()
    is_empty = not into.exists() or (into.is_dir() and not any(into.iterdir()))
    if not is_replaced and not is_empty:
        raise InvalidInputError(f"--into {into}", "it contains other files", "Name a new directory.")


def _check_purpose(path: Path, texts: list[str] | None, unlabelled: bool) -> None:
    """Raise InvalidInputError unless either texts or ``--unlabelled`` are given."""
    if bool(texts) == unlabelled:
        raise InvalidInputError(
            f"import {path}",
            "both --texts and --unlabelled" if texts else "neither --texts nor --unlabelled",
            "Give texts like those to be indexed, or --unlabelled for a space without labels.",
        )


def _check_dimension(imported: ImportedAutoencoder, encoder: TextEncoder) -> None:
    wanted, found = imported.autoencoder.dimension, encoder.identity.dimension
    if wanted != found:
        raise MismatchError(
            f"an autoencoder for {wanted} dimensions with encoder {encoder.identity.model!r}",
            f"the encoder has {found}",
            "Name the encoder that it was trained on with --encoder.",
        )


def _doubts(space: FeatureSpace) -> list[str]:
    nmse = (space.report.get("held_out") or {}).get("nmse")
    if nmse is not None and nmse >= 1:
        return [f"NMSE {nmse:.2f}: no better than the mean, so it was probably trained on other vectors"]
    return []


def _described(space: FeatureSpace, into: Path) -> dict[str, Any]:
    return {
        "space": space.name,
        "into": str(into),
        "fingerprint": space.fingerprint,
        "n_features": space.n_features,
        "k": space.sae.k,
        "labelled": sum(label.method != "none" for label in space.labels),
        "weak_labels": sum(label.is_weak for label in space.labels),
        "held_out": space.report.get("held_out") or None,
    }


def _print_notes(notes: list[str], space: FeatureSpace) -> None:
    from saeindex.features.trust import describe_summary

    held_out = space.report.get("held_out")
    if held_out:
        weak = sum(label.is_weak for label in space.labels)
        say(f"  NMSE {held_out['nmse']:.3f}, cosine {held_out['cosine']:.3f}, {weak:,} weak labels")
        say(f"  {describe_summary(space.report['labels'])}")
    for note in notes:
        say(f"  {note}")


def _print_mapping(mapping: SpaceMapping, changed: int, into: Path | None) -> None:
    summary = mapping.summary()
    mean = f" (mean confidence {summary['mean_confidence']:.2f})" if mapping.matches else ""
    say(f"{summary['matched']:,} matched{mean}, {summary['lost']:,} lost, {summary['gained']:,} gained")
    verb = f"carried into {into}" if into else "would be carried (give --into)"
    say(f"{changed:,} labels {verb}; {summary['lost_manual_labels']:,} manual labels lost")
    if mapping.lost:
        say("Lost, most frequent first:")
    for feature in mapping.lost[:SHOWN]:
        label = shown_label(feature.label, feature.is_weak)
        say(
            f"  #{feature.id} {label} ({feature.method}, in {feature.density:.2%} of texts); "
            f"nearest is #{feature.nearest}, {feature.similarity:.2f}"
        )
