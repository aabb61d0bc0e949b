"""``saeindex sae label``: name features by words, by a language model, or by hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saeindex.cli.corpus import read_texts
from saeindex.cli.labelling import changed_features, read_features, read_names, relabelled, show, target_of
from saeindex.cli.output import Json
from saeindex.errors import InvalidInputError

if TYPE_CHECKING:
    from saeindex.features.labelers import Labeler
    from saeindex.llm.budget import Prices

LEXICAL, LLM, MANUAL = METHODS = "lexical", "llm", "manual"

Space = Annotated[str, typer.Argument(metavar="SPACE", help="A feature space: a name or a directory.")]
Corpus = Annotated[
    list[str] | None, typer.Argument(metavar="[CORPUS]...", help="Texts, as for `index`: 70 % make labels.")
]
Method = Annotated[
    str | None, typer.Option(help="lexical, llm or manual (else manual with --set or --from, or lexical).")
]
Named = Annotated[
    list[str] | None, typer.Option("--set", metavar="ID=TEXT", help="A label by hand; repeat it for several.")
]
NamesFile = Annotated[
    Path | None, typer.Option("--from", help='Labels by hand: lines of {"id": 1041, "label": "dark matter"}.')
]
Features = Annotated[str | None, typer.Option(help="Label only these: 1,2,5-9.")]
Url = Annotated[
    str | None, typer.Option(help="An OpenAI-compatible service (env: OPENAI_BASE_URL). Key: OPENAI_API_KEY.")
]
Model = Annotated[str | None, typer.Option(help="The model that writes labels.")]
Predictor = Annotated[str | None, typer.Option(help="The model that tests them (else the same).")]
MaxTokens = Annotated[int | None, typer.Option(min=1, help="Stop before this many tokens, in and out.")]
Budget = Annotated[float | None, typer.Option(min=0.0, help="Stop before this much money; needs prices.")]
PriceIn = Annotated[float | None, typer.Option(min=0.0, help="Price of a million input tokens.")]
PriceOut = Annotated[float | None, typer.Option(min=0.0, help="Price of a million output tokens.")]
Concurrency = Annotated[int, typer.Option(min=1, max=256, help="Requests at a time.")]
Cache = Annotated[
    Path | None, typer.Option(help="Where replies are kept (else $SAEINDEX_CACHE or ~/.cache/saeindex).")
]
Yes = Annotated[bool, typer.Option("--yes", help="Spend without asking.")]
Into = Annotated[Path | None, typer.Option(help="Write a new space here (else SPACE is changed).")]
TextField = Annotated[str | None, typer.Option(help="Column of the text (else detected).")]
Limit = Annotated[int | None, typer.Option(min=1, help="Use only this many texts.")]
Seed = Annotated[int, typer.Option(help="Same seed, same examples.")]


def label(  # noqa: PLR0913, PLR0917  (the options of a command)
    space: Space,
    corpus: Corpus = None,
    method: Method = None,
    named: Named = None,
    names_file: NamesFile = None,
    features: Features = None,
    url: Url = None,
    model: Model = None,
    predictor_model: Predictor = None,
    max_tokens: MaxTokens = None,
    budget: Budget = None,
    price_in: PriceIn = None,
    price_out: PriceOut = None,
    concurrency: Concurrency = 4,
    cache: Cache = None,
    yes: Yes = False,
    into: Into = None,
    text_field: TextField = None,
    limit: Limit = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Label features anew; labels by hand stay. Neither the fingerprint nor any index changes.

    Labels are made on 70 % of the texts and their trust is measured on the others. An LLM run prints what
    it will cost and asks before it starts; replies are kept, so a run that was stopped goes on.
    """
    from saeindex.features import FeatureSpace

    names = read_names(named or [], names_file)
    chosen = _checked_method(method, bool(names), bool(corpus), features)
    target = target_of(space, into)
    before = FeatureSpace.load(space)
    wanted = sorted(names) if chosen == MANUAL else read_features(features, before)
    labeler: Labeler
    if chosen == LLM:
        prices = _prices(price_in, price_out)
        labeler = _llm(model, predictor_model, url, cache, concurrency, prices, max_tokens, budget)
    else:
        labeler = _offline(chosen, names)
    texts = read_texts(corpus or [], text_field, limit)
    after, done = relabelled(before, texts, labeler, wanted, seed, is_agreed=yes, may_ask=not as_json)
    after.save(target)
    show(before, after, done, target, as_json)
    if not changed_features(before, after):
        raise typer.Exit(1)


def _checked_method(method: str | None, has_names: bool, has_corpus: bool, features: str | None) -> str:
    """Return the method that the options ask for; InvalidInputError where they do not go together."""
    chosen = method or (MANUAL if has_names else LEXICAL)
    if chosen not in METHODS:
        raise InvalidInputError(f"--method {chosen}", "no such method", f"Use {', '.join(METHODS)}.")
    if (chosen == MANUAL) != has_names:
        found = "labels by hand" if has_names else "neither --set nor --from"
        raise InvalidInputError(
            f"--method {chosen}", found, "Give --set or --from with --method manual, and only with it."
        )
    if chosen == MANUAL and features:
        raise InvalidInputError("--features", "labels by hand name their features", "Leave it out.")
    if chosen != MANUAL and not has_corpus:
        raise InvalidInputError(f"--method {chosen}", "no texts", "Name a corpus after the space.")
    return chosen


def _offline(method: str, names: dict[int, str]) -> Labeler:
    from saeindex.features.labelers import LexicalLabeler, ManualLabeler

    return ManualLabeler(names) if method == MANUAL else LexicalLabeler()


def _llm(
    model: str | None,
    predictor_model: str | None,
    url: str | None,
    cache: Path | None,
    concurrency: int,
    prices: Prices | None,
    max_tokens: int | None,
    budget: float | None,
) -> Labeler:
    from saeindex.encoders.cache import EmbeddingCache
    from saeindex.features.labelers import LLMLabeler

    if not model:
        raise InvalidInputError("--method llm", "no model", "Name one of the service's models with --model.")
    return LLMLabeler(
        model,
        predictor_model=predictor_model,
        base_url=url,
        cache=cache or EmbeddingCache().folder.with_name("labels"),
        concurrency=concurrency,
        prices=prices,
        max_tokens=max_tokens,
        budget=budget,
    )


def _prices(input_price: float | None, output_price: float | None) -> Prices | None:
    from saeindex.llm.budget import Prices

    if input_price is None and output_price is None:
        return None
    if input_price is None or output_price is None:
        given = "--price-in" if output_price is None else "--price-out"
        raise InvalidInputError("prices", f"only {given}", "Give --price-in and --price-out.")
    return Prices(input_price, output_price)
