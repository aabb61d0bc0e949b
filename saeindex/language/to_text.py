"""Conversion of a where expression to text, with only the necessary parentheses."""

from __future__ import annotations

from saeindex.language import ast

# Precedence of each kind; a part with a lower precedence than its parent gets parentheses.
_OR, _AND, _NOT, _TIGHT = range(4)


def to_text(expression: ast.Expression) -> str:
    """Return the text that :func:`~saeindex.language.parser.parse_where` reads back as ``expression``.

    Raises:
        QuerySyntaxError: the expression exceeds the limits. Its text may exceed the limit of a text's length.
    """
    ast.check_limits(expression)
    return _written(expression)[0]


def quoted(text: str) -> str:
    """Return a text in double quotes, in the syntax of both languages."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _written(node: ast.Expression) -> tuple[str, int]:
    """Return the text and the precedence of a node."""
    if isinstance(node, ast.Or):
        return " OR ".join(_within(part, _OR) for part in node.parts), _OR
    if isinstance(node, ast.And):
        return " AND ".join(_within(part, _AND) for part in node.parts), _AND
    if isinstance(node, ast.Not):
        if isinstance(node.part, ast.OneOf | ast.Between):
            return _condition(node.part, "NOT "), _TIGHT
        if isinstance(node.part, ast.Holds) and node.part.op == "contains":
            return _condition(node.part, "NOT "), _TIGHT
        return f"NOT {_within(node.part, _NOT)}", _NOT
    return _tight(node), _TIGHT


def _tight(node: ast.AtLeast | ast.Leaf) -> str:
    if isinstance(node, ast.AtLeast):
        return f"AT LEAST {node.count} OF ({', '.join(_within(part, _OR) for part in node.parts)})"
    if isinstance(node, ast.ConceptTerm):
        return f"{node.level}({_term(node)})" if node.level else _term(node)
    return f"says({quoted(node.text)})" if isinstance(node, ast.Says) else _condition(node)


def _within(part: ast.Expression, strength: int) -> str:
    text, own = _written(part)
    return text if own >= strength else f"({text})"


def _term(node: ast.ConceptTerm) -> str:
    if isinstance(node, ast.FeatureTerm):
        return f"#{node.feature}"
    if isinstance(node, ast.Phrase):
        return quoted(node.text)
    return f"family({node.name if ast.is_feature_id(node.name) else quoted(node.name)})"


def _condition(node: ast.Condition, negation: str = "") -> str:
    match node:
        case ast.Compare():
            return f"{node.field} {node.op} {_value(node.value)}"
        case ast.OneOf():
            return f"{node.field} {negation}IN ({', '.join(map(_value, node.values))})"
        case ast.Between():
            return f"{node.field} {negation}BETWEEN {_value(node.low)} AND {_value(node.high)}"
        case ast.Exists():
            return f"EXISTS({node.field})"
        case ast.Holds():
            return f"{node.field} {negation}{node.op.upper()} {quoted(node.text)}"
        case ast.Nested():
            return f"NESTED({_within(node.part, _OR)})"


def _value(value: ast.Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, ast.Date):
        return value.date
    return quoted(value) if isinstance(value, str) else repr(value)
