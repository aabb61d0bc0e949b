"""``saeindex sae import`` and ``export``: exchange spaces with other libraries."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saeindex.cli.corpus import Limit, Space, TextField, check_target, read_texts
from saeindex.cli.output import Json, answer, print_json, say
from saeindex.config import DEFAULT_ENCODER
from saeindex.errors import InvalidInputError, MismatchError
from saeindex.features import FeatureSpace
from saeindex.features.hub import CARD, model_card
from saeindex.files import replacing_folder
from saeindex.sae.metrics import fidelity

if TYPE_CHECKING:
    from saeindex.protocols import TextEncoder
    from saeindex.sae.importers import ImportedAutoencoder

Into = Annotated[Path, typer.Option(help="Directory to write.")]


def import_(
    path: Annotated[Path, typer.Argument(help="Folder or .pt file of the other library.")],
    into: Into,
    format: Annotated[
        str,
        typer.Option(
            help="auto, saelens, sparsify, gemma-scope, llama-scope, goodfire, saerch (also OpenAI's) or "
            "sentence-transformers."
        ),
    ] = "auto",
    k: Annotated[
        int | None, typer.Option(min=1, help="Maximum active features per text, if the file has none.")
    ] = None,
    refine_steps: Annotated[
        int, typer.Option(min=0, help="Refinement steps of the activations; 0 keeps them as they are.")
    ] = 0,
    encoder: Annotated[str, typer.Option(help="Encoder that it was trained on.")] = DEFAULT_ENCODER,
    reader: Annotated[
        str | None,
        typer.Option(
            help="Language model whose tokens it was trained on: NAME:LAYER, or NAME if it says where."
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the space. Default: name of the directory.")
    ] = None,
    texts: Annotated[list[str] | None, typer.Option(help="Texts, as for `index`. Repeatable.")] = None,
    unlabelled: Annotated[
        bool, typer.Option("--unlabelled", help="Import without texts: no labels, levels or report.")
    ] = False,
    text_field: TextField = None,
    limit: Limit = None,
    as_json: Json = False,
) -> None:
    """Make a feature space from an autoencoder of another library; texts calibrate, label and measure it."""
    from saeindex.encoders import open_encoder
    from saeindex.features.trust import describe_summary
    from saeindex.sae.importers import read_autoencoder

    if bool(texts) == unlabelled:
        found = "both --texts and --unlabelled" if texts else "neither --texts nor --unlabelled"
        do = "Give texts like those to be indexed, or --unlabelled for a space without labels."
        raise InvalidInputError(f"import {path}", found, do)
    check_target(into, is_space=True)
    imported = read_autoencoder(path, format, k=k, of_tokens=reader is not None)
    if reader is not None:
        if unlabelled:
            raise InvalidInputError("--reader with --unlabelled", "levels are of texts", "Give --texts.")
        _read_in(
            imported, reader, read_texts(texts or [], text_field, limit), name or into.name, into, as_json
        )
        return
    imported.autoencoder.refine_steps = refine_steps
    opened = open_encoder(encoder)
    wanted, dimension = imported.autoencoder.dimension, opened.identity.dimension
    if wanted != dimension:
        asked = f"an autoencoder for {wanted} dimensions with encoder {opened.identity.model!r}"
        do = "Name the encoder that it was trained on with --encoder."
        raise MismatchError(asked, f"the encoder has {dimension}", do)
    space = _made(imported, opened, read_texts(texts or [], text_field, limit), name or into.name)
    space.save(into)
    held_out, notes = space.report.get("held_out"), [*imported.notes]
    if held_out and held_out["nmse"] >= 1:
        doubt = "no better than the mean, so it was probably trained on other vectors"
        notes.append(f"NMSE {held_out['nmse']:.2f}: {doubt}")
    if as_json:
        print_json({**_described(space, into), "imported": space.report["imported"], "notes": notes})
        return
    source = f"{imported.format} ({imported.activation}, k={imported.k})"
    say(f"{into}: {space.n_features:,} features from {source}")
    if held_out:
        weak = sum(label.is_weak for label in space.labels)
        say(f"  NMSE {held_out['nmse']:.3f}, cosine {held_out['cosine']:.3f}, {weak:,} weak labels")
        say(f"  {describe_summary(space.report['labels'])}")
    for note in notes:
        say(f"  {note}")


def _read_in(
    imported: ImportedAutoencoder, reader: str, texts: list[str], name: str, into: Path, as_json: bool
) -> None:
    """Make a reader of an autoencoder of tokens, with levels and names of texts, and save it."""
    from saeindex.encoders.causal import CausalReader, name_and_layer
    from saeindex.features.reader_fitting import fit_reader

    model, layer = name_and_layer(reader)
    place = imported.layer if layer is None else layer
    if place is None:
        do = "Give it, as NAME:LAYER: the number of layers whose output it reads."
        raise InvalidInputError(f"--reader {reader:.80}", "the file does not say after which layer", do)
    opened = CausalReader(model, place, scale=imported.reads)
    made = fit_reader(texts, opened, imported.autoencoder, name=name)
    made.save(into)
    source, named = f"{imported.format} ({imported.activation})", int(made.is_named.sum())
    described = {"reader": str(into), "fingerprint": made.fingerprint, "n_features": made.n_features}
    said = [
        f"{into}: {made.n_features:,} features of tokens from {source}, {named:,} with a name",
        *imported.notes,
    ]
    answer({**described, "notes": imported.notes, **made.report}, "\n  ".join(said), as_json)


def _made(imported: ImportedAutoencoder, encoder: TextEncoder, texts: list[str], name: str) -> FeatureSpace:
    """Return the space of an imported autoencoder; without texts it has neither labels nor levels."""
    source = {"format": imported.format, "activation": imported.activation, "k": imported.k}
    report: dict[str, Any] = {"imported": source, "held_out_texts": len(texts)}
    if not texts:
        return FeatureSpace.unlabelled(imported.autoencoder, encoder.identity, name=name, report=report)
    x = encoder.encode_document(texts)
    report["held_out"] = fidelity(imported.autoencoder.half(), x, x.mean(0))
    return FeatureSpace.annotate(imported.autoencoder, texts, x, encoder, name=name, report=report)


def export(
    space: Space,
    into: Into,
    format: Annotated[
        str, typer.Option(help="saeindex (with a model card), saelens or sparsify.")
    ] = "saeindex",
    as_json: Json = False,
) -> None:
    """Write a space to share, or its autoencoder in another library's format (weights only)."""
    from saeindex.sae.importers import export_autoencoder

    check_target(into, is_space=format == "saeindex")
    loaded = FeatureSpace.load(space)
    notes: list[str] = []
    if format == "saeindex":
        (loaded.save(into) / CARD).write_text(model_card(loaded, loaded.name))
    else:
        with replacing_folder(into) as draft:
            notes = export_autoencoder(loaded.sae, draft, format)
        notes.append("labels, levels and the encoder's identity are not exported")
    files = sorted(path.name for path in into.iterdir())
    if as_json:
        print_json({**_described(loaded, into), "format": format, "files": files, "notes": notes})
        return
    say(f"{into}: {', '.join(files)}")
    for note in notes:
        say(f"  {note}")


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
