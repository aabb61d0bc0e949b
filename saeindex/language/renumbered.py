"""Feature ids of a query, replaced by those of another feature space."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from lark import Token, Tree

from saeindex.errors import QuerySyntaxError
from saeindex.language.ast import is_feature_id
from saeindex.language.parser import parse_where, parsed_tree

Gone = int | str


def renumbered(query: str, features: Mapping[int, int]) -> tuple[str, tuple[Gone, ...]]:
    """Return a where text, its JSON, or a steer text with the new ids of features; the rest is as it was.

    And what has no new id and is left: ids of features, and ``"family #3"`` for ids of families, which are
    not mapped. QuerySyntaxError if it is neither a where nor a steer text.
    """
    gone: list[Gone] = []
    if query.lstrip().startswith("{"):
        try:
            given = json.loads(query)
        except ValueError as error:
            raise QuerySyntaxError("a where expression as JSON", str(error), "Correct it.") from error
        parse_where(given)
        text = json.dumps(_mapped(given, features, gone), ensure_ascii=False)
    else:
        text, at = "", 0
        for token, is_family in sorted(_ids(_tree(query)), key=lambda found: found[0].start_pos or 0):
            feature = int(token.rpartition("#")[2].rstrip('"'))
            if is_family:
                gone.append(f"family #{feature}")
            elif feature not in features:
                gone.append(feature)
            else:
                text += f"{query[at : token.start_pos]}#{features[feature]}"
                at = token.end_pos or at
        text += query[at:]
    return text, tuple(dict.fromkeys(gone))


def _tree(query: str) -> Tree[Token]:
    try:
        return parsed_tree("where", query)
    except QuerySyntaxError as error:
        try:
            return parsed_tree("steer", query)
        except QuerySyntaxError:
            raise error from None


def _ids(tree: Tree[Token]) -> Iterator[tuple[Token, bool]]:
    """Yield the tokens that end with the id of a feature or of a family, and whether it is of a family."""
    for part in tree.iter_subtrees():
        for token in part.children:
            if not isinstance(token, Token):
                continue
            if token.type == "FEATURE":
                yield token, part.data == "family"
                continue
            is_family = part.data == "family" or (token.type == "NAMED" and token.startswith("family:"))
            if is_family and is_feature_id(token.removeprefix("family:").strip('"')):
                yield token, True


def _mapped(node: Any, features: Mapping[int, int], gone: list[Gone]) -> Any:
    """Return the JSON object of a where expression with the new ids, adding to ``gone`` what has none."""
    kind = node["kind"]
    if kind == "family" and is_feature_id(node["name"]):
        gone.append(f"family {node['name']}")
    if kind == "feature":
        if node["feature"] in features:
            return {**node, "feature": features[node["feature"]]}
        gone.append(node["feature"])
    if "part" in node:
        return {**node, "part": _mapped(node["part"], features, gone)}
    if "parts" in node:
        return {**node, "parts": [_mapped(part, features, gone) for part in node["parts"]]}
    return node
