"""Correlations as a graph: concepts as nodes, findings as edges, for other programs to draw."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from saeindex.errors import InvalidInputError

if TYPE_CHECKING:
    from networkx import Graph

    from saeindex.analysis.correlate.results import Concept, Correlations

FORMATS = (".graphml", ".json")


def concept_graph(correlations: Correlations) -> Graph:
    """Return the listed pairs as an undirected graph; an edge's ``weight`` is its evidence.

    ``sign`` is 1 where two concepts go together, -1 where they avoid each other.
    """
    from networkx import Graph

    graph = Graph(field=correlations.field, other_field=correlations.other_field)
    for sign, pairs in ((1, correlations.results), (-1, correlations.avoided)):
        for pair in pairs:
            for concept in (pair.a, pair.b):
                said = {name: value for name, value in concept.to_json().items() if value is not None}
                graph.add_node(_key(concept), **said)
            graph.add_edge(
                _key(pair.a), _key(pair.b),
                weight=abs(pair.evidence), sign=sign, support=pair.support, lift=pair.lift,
                npmi=pair.npmi, log_odds=pair.log_odds, q=pair.q,
            )  # fmt: skip
    return graph


def write_graph(correlations: Correlations, path: str | Path) -> Path:
    """Write the graph as GraphML or as node-link JSON, by the name's ending; return the path."""
    from networkx import node_link_data, write_graphml

    target = Path(path)
    check_format(target)
    graph = concept_graph(correlations)
    if target.suffix == ".graphml":
        write_graphml(graph, target)
    else:
        target.write_text(json.dumps(node_link_data(graph, edges="edges"), ensure_ascii=False, indent=1))
    return target


def check_format(path: Path) -> None:
    """Raise InvalidInputError for a file name whose ending says no format."""
    if path.suffix not in FORMATS:
        raise InvalidInputError(
            f"graph in {path}", f"a file that ends in {path.suffix!r}", f"Use {' or '.join(FORMATS)}."
        )


def _key(concept: Concept) -> str:
    """Return what tells a concept from all others, its text field included."""
    name = concept.label if concept.feature is None else f"#{concept.feature}"
    return f"{concept.field}:{name}" if concept.field else name
