"""``saeindex space``: make a feature space with the named concepts for an encoder."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from saeindex.cli.corpus import Limit, TextField, check_target, followed, read_records
from saeindex.cli.output import Json, print_json, say
from saeindex.cli.sae.fit import training_bar
from saeindex.types import visible

app = typer.Typer(help="Make a feature space with the named concepts for an encoder.", no_args_is_help=True)


@app.callback()
def space() -> None:
    """Make a feature space with the named concepts for an encoder."""


@app.command()
def make(
    encoder: Annotated[
        str, typer.Argument(help="A sentence-transformers model, by name or folder, or openai:MODEL.")
    ],
    texts: Annotated[
        list[str] | None,
        typer.Option(help="Files or folders of texts like yours, beside those of the package. Repeatable."),
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option(help="The directory of the space. Default: in the cache, where it is found."),
    ] = None,
    dimensions: Annotated[
        int | None, typer.Option(min=1, help="Dimensions to keep of the vectors, of a model made for that.")
    ] = None,
    query_prompt: Annotated[
        str | None, typer.Option(help="What stands before queries. Default: the model's.")
    ] = None,
    document_prompt: Annotated[
        str | None, typer.Option(help="What stands before texts. Default: the model's.")
    ] = None,
    input_types: Annotated[
        str | None, typer.Option(help="What a service is told of queries and texts, such as query,passage.")
    ] = None,
    max_length: Annotated[
        int | None, typer.Option(min=3, help="Tokens that are read of a text. Default: the model's.")
    ] = None,
    text_field: TextField = None,
    limit: Limit = None,
    as_json: Json = False,
) -> None:
    """Make a space: directions, evidence and an autoencoder for the concepts that come with the package.

    Embeddings are cached. An interrupted command continues from its checkpoint when it is run again.
    """
    from saeindex.config import DEFAULT_SPACE
    from saeindex.encoders import open_encoder
    from saeindex.encoders.cache import CachedEncoder
    from saeindex.encoders.cost import about, cost_of
    from saeindex.features import FeatureSpace
    from saeindex.features.encoder_space import MIN_PAIRS, Material, labels_of, made_space, training_of
    from saeindex.features.space_io import place_for
    from saeindex.sae.train import training_seconds

    if into is not None:
        check_target(into, is_space=True)
    given = {
        "dimensions": dimensions, "query_prompt": query_prompt, "document_prompt": document_prompt,
        "input_types": input_types, "max_length": max_length,
    }  # fmt: skip
    options: Any = {name: one for name, one in given.items() if one is not None}
    opened, default = CachedEncoder(open_encoder(encoder, **options)), FeatureSpace.load(DEFAULT_SPACE)
    material = Material.of(read_records(texts or [], text_field, limit))
    target = place_for(opened.identity, material.digest) if into is None else into
    target.parent.mkdir(parents=True, exist_ok=True)
    config = training_of(material)
    missing = partial(material.missing, labels_of(default), opened)
    if not as_json:
        lasts = about(training_seconds(config, opened.identity.dimension))
        say(f"{cost_of(missing(), opened)}; and {config.all_steps:,} steps of training, {lasts}.")
    checkpoint = target.with_name(f".{target.name}.checkpoint.safetensors")
    name = None if into is None else into.name
    with followed("encoding", "texts", len(missing())) as encoding, training_bar(config) as follow:
        opened.progress = encoding.update
        made = made_space(FeatureSpace.annotate, default, opened, material, config, name, checkpoint, follow)
    made.save(target)
    found = made.report["made"]
    if as_json:
        print_json({"space": str(target), "fingerprint": made.fingerprint, **found})
        return
    judged, error = found["judged"], made.report["held_out"]["nmse"]
    say(f"{visible(str(target))}: {made.n_features:,} features, held out NMSE {error:.3f}.")
    say("AUROC of named concepts on sentences that readers judged, and it was not fitted on:")
    for name, title in (("all", "all"), ("said", "a word says it"), ("meant", "no word says it")):
        say(f"  {title:16} {judged['this'][name]:.3f}   default space {judged['default'][name]:.3f}")
    if again := found.get("ndcg10"):
        say("nDCG@10 of a sentence of each of your texts that searches the rest of it, by vectors alone:")
        say(f"  {'all':16} {again['this']:.3f}   default space {again['default']:.3f}")
    elif material.own:
        found_again = f"fewer than {MIN_PAIRS} of your texts have two sentences"
        say(f"No nDCG, of a sentence of each text that searches the rest of it: {found_again}.")
    minutes = found["minutes"]
    say(f"It took {minutes['encoding']:.1f} minutes of encoding, and {minutes['training']:.1f} of the rest.")
    if opened.billed:
        say(f"The service counted {opened.billed:,} tokens.")
    is_found = into is None and (not options or encoder.startswith("openai:"))
    place = f"--encoder {visible(encoder)}" if is_found else f"--space {visible(str(target))}"
    say(
        f"Use it: `saeindex index … {place}`, and `saeindex copy OLD NEW {place}` for an index that you have."
    )
