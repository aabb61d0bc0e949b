"""How results look: JSON for programs, text for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saeindex.types import shown_label

if TYPE_CHECKING:
    from rich.console import Console

    from saeindex.types import Explanation, Hit, Hits, Query

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Url = Annotated[
    str | None,
    typer.Option(
        help="A Qdrant server (env: that of QDRANT_URL); INDEX is then a collection. Key: QDRANT_API_KEY."
    ),
]

BAR = 24
SHOWN_PARTS, SHOWN_FEATURES = 8, 4


def console() -> Console:
    """Return what text results are printed with: plain where stdout is no terminal."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=False)


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object."""
    print(json.dumps(value, ensure_ascii=False, allow_nan=False))


def hits_json(hits: Hits) -> dict[str, Any]:
    """Return the JSON of a search."""
    return {
        "query": query_json(hits.plan.query),
        "plan": hits.plan.to_json(),
        "drift": hits.drift,
        "hits": [hit_json(hit) for hit in hits],
        "timings_ms": {stage: round(ms, 3) for stage, ms in hits.timings_ms.items()},
    }


def query_json(query: Query) -> dict[str, Any]:
    """Return a query as JSON: a native filter as Qdrant's own JSON, steers in full."""
    from saeindex.query.language import parse_steer

    described = {name: getattr(query, name) for name in query.__dataclass_fields__}
    if query.query_filter is not None:
        described["query_filter"] = query.query_filter.model_dump(mode="json", exclude_none=True)
    described["steer"] = [asdict(steer) for steer in parse_steer(query.steer)]
    return described


def hit_json(hit: Hit) -> dict[str, Any]:
    """Return a hit as JSON."""
    return {
        "id": hit.id,
        "score": hit.score,
        "text": hit.text,
        "metadata": dict(hit.metadata),
        "passage": hit.passage,
        "features": [asdict(activation) for activation in hit.features],
        "explanation": None if hit.explanation is None else asdict(hit.explanation),
    }


def print_hits(out: Console, hits: Hits) -> None:
    """Print hits as a numbered list: score, title, metadata, strongest concepts, and why."""
    from rich.text import Text

    for rank, hit in enumerate(hits, 1):
        title, _, rest = hit.text.partition("\n")
        scored = (f"{rank:>3}  ", "dim"), (f"{hit.score:.3f}  ", "bold cyan")
        out.print(Text.assemble(*scored, (_cut(title, 88), "bold")), no_wrap=True, overflow="ellipsis")
        details = " · ".join([hit.id, *_scalars(hit)])
        out.print(Text(f"            {_cut(details, 96)}", "dim"), no_wrap=True, overflow="ellipsis")
        if rest.strip() and hit.explanation is None:
            out.print(
                Text(f"            {_cut(' '.join(rest.split()), 96)}"), no_wrap=True, overflow="ellipsis"
            )
        if hit.explanation is not None:
            print_explanation(out, hit.explanation)
        elif hit.features:
            strongest = hit.features[:SHOWN_FEATURES]
            shown = "  ".join(f"#{a.id} {shown_label(a.label, a.is_weak)}" for a in strongest)
            out.print(Text(f"            {shown}", "green"), no_wrap=True, overflow="ellipsis")


def print_explanation(out: Console, explanation: Explanation) -> None:
    """Print the largest parts as bars; what is not shown is one line, so that the sum can be checked."""
    from rich.text import Text

    features = [part for part in explanation.parts if part.kind == "feature"]
    others = [part for part in explanation.parts if part.kind != "feature"]
    named = [(p, shown_label(p.label, p.is_weak)) for p in features[:SHOWN_PARTS]]
    rows = [(p.value, f"#{p.feature} {label}", "green") for p, label in named]
    rest = features[SHOWN_PARTS:]
    if rest:
        rows.append((sum(part.value for part in rest), f"{len(rest)} further concepts", "dim"))
    rows += [(part.value, f"{part.kind}: {part.label}", "dim") for part in others]
    largest = max((abs(value) for value, _, _ in rows), default=1.0) or 1.0
    for value, name, style in rows:
        bar = "█" * max(1, round(BAR * abs(value) / largest))
        color = "red" if value < 0 else style
        line = Text.assemble((f"       {value:+.4f} ", "dim"), (f"{bar:<{BAR}} ", color), name)
        out.print(line, no_wrap=True, overflow="ellipsis")
    out.print(Text(f"      ={explanation.total:.4f}", "bold"))


def _scalars(hit: Hit) -> list[str]:
    """Return the short metadata fields that do not repeat the id or the text."""
    seen = f"{hit.id} {hit.text}"
    fields = [
        f"{key}={value}"
        for key, value in hit.metadata.items()
        if isinstance(value, int | float) or (isinstance(value, str) and value not in seen)
    ]
    return [_cut(shown, 40) for shown in fields[:4]]


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def progress_bar(title: str, unit: str, total: int) -> Any:
    """Return a bar on stderr, for a ``with``."""
    from tqdm import tqdm

    return tqdm(total=total, desc=title, unit=f" {unit}")
