"""``saeindex sae …``: fitting feature spaces and moving them about."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saeindex.cli import sae_families, sae_transfer
from saeindex.cli.corpus import read_texts
from saeindex.cli.output import Json, print_json
from saeindex.config import DEFAULT_ENCODER
from saeindex.errors import InvalidInputError

if TYPE_CHECKING:
    from saeindex.features import FeatureSpace

app = typer.Typer(help="Fit feature spaces, look at them, and move them about.", no_args_is_help=True)
app.command("families")(sae_families.families)
app.command("import")(sae_transfer.import_)
app.command("export")(sae_transfer.export)
app.command("map")(sae_transfer.map_)


@app.command("fit")
def fit(
    corpus: Annotated[list[str], typer.Argument(help="JSONL, CSV, Parquet or folders, as for `index`.")],
    into: Annotated[Path, typer.Option(help="The directory of the new space.")],
    features: Annotated[int, typer.Option(min=2, help="Number of features.")] = 4_096,
    k: Annotated[int, typer.Option(min=1, help="Active features per text.")] = 32,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Training steps (else by the corpus's size).")
    ] = None,
    input_noise: Annotated[
        float, typer.Option(min=0.0, help="Noise on the input; 0.3 generalises better.")
    ] = 0.3,
    seed: Annotated[int, typer.Option(help="Same seed, same space.")] = 0,
    encoder: Annotated[str, typer.Option(help="Encoder: a name, a path or openai:MODEL.")] = DEFAULT_ENCODER,
    text_field: Annotated[str | None, typer.Option(help="Column of the text (else detected).")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Use only this many texts.")] = None,
    as_json: Json = False,
) -> None:
    """Fit a space on a corpus: train, calibrate, label, and measure on texts held out."""
    from saeindex.encoders import open_encoder
    from saeindex.features import FeatureSpace
    from saeindex.sae.train import TrainingConfig, suitable_steps

    if into.exists() and not (into / "space.json").is_file() and any(into.iterdir()):
        raise InvalidInputError(f"--into {into}", "a directory with other files", "Name a new directory.")
    texts = read_texts(corpus, text_field, limit)
    opened = open_encoder(encoder)
    config = TrainingConfig(
        n_features=features,
        k=k,
        steps=steps or suitable_steps(len(texts)),
        input_noise=input_noise,
        seed=seed,
    )
    config.check(len(texts))
    embeddings = _embed(texts, opened)
    total = config.steps + int(config.steps * config.refined_phase)
    from tqdm import tqdm

    with tqdm(total=total, desc="training", unit=" steps") as bar:

        def show(step: int, loss: float) -> None:
            bar.update(step - bar.n)
            bar.set_postfix(nmse=f"{loss:.3f}")

        space = FeatureSpace.fit(
            texts, encoder=opened, embeddings=embeddings, config=config, name=into.name, progress=show
        )
    space.save(into)
    _report(space, into, as_json)


def _embed(texts: list[str], encoder: Any) -> Any:
    import numpy as np
    from tqdm import tqdm

    chunk = 512
    with tqdm(total=len(texts), desc="encoding", unit=" docs") as bar:
        parts = []
        for start in range(0, len(texts), chunk):
            parts.append(encoder.encode_document(texts[start : start + chunk]))
            bar.update(len(parts[-1]))
    return np.concatenate(parts)


def _report(space: FeatureSpace, into: Path, as_json: bool) -> None:
    trusted = sum(not label.is_weak for label in space.labels)
    if as_json:
        described = {"n_features": space.n_features, "k": space.sae.k, "trusted_labels": trusted}
        print_json({"space": str(into), "fingerprint": space.fingerprint, **described, **space.report})
        return
    held_out = space.report["held_out"]
    print(
        f"{into}: {space.n_features:,} features, {space.sae.k} active; held out: "
        f"NMSE {held_out['nmse']:.3f}, cosine {held_out['cosine']:.3f}; {trusted:,} labels trusted"
    )
    print(f"Use it: saeindex index FILES --into NAME --space {into}")
