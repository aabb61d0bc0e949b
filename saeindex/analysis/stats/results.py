"""The base of results that have findings by family of evidence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from saeindex.report.result import AnalysisResult

if TYPE_CHECKING:
    from saeindex.analysis.stats.choices import Family

# The key of each family's findings in JSON.
KEYS: Mapping[Family, str] = {
    "concepts": "results", "words": "words", "clusters": "clusters", "style": "style", "named": "named"
}  # fmt: skip


class FoundByFamily(AnalysisResult):
    """A result with ``findings`` by family, and the number of ``tested`` concepts or words of each."""

    __slots__ = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON: ``results`` are the concepts; the other families have their own keys."""
        found = super().to_json()
        findings, tested = found.pop("findings"), found.pop("tested")
        listed = {key: findings.get(family, []) for family, key in KEYS.items()}
        count = tested.get("concepts", sum(tested.values()))
        return {**found, "tested": count, **listed, "tested_by_family": tested}

    @classmethod
    def of_schema(cls, found: dict[str, Any]) -> dict[str, Any]:
        """Return the schema of the JSON, of that of the class."""
        parts = found["properties"]
        tested, findings = parts.pop("tested"), parts.pop("findings")
        listed = findings["additionalProperties"]
        parts |= {"tested": {"type": "integer"}, **dict.fromkeys(KEYS.values(), listed)}
        parts["tested_by_family"] = tested
        return {name: one for name, one in found.items() if name != "required"}

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Self:
        """Return the result that :meth:`to_json` wrote."""
        tested = given["tested_by_family"]
        findings = {name: given[key] for name, key in KEYS.items() if given[key] or name in tested}
        others = {
            name: one for name, one in given.items() if name not in (*KEYS.values(), "tested_by_family")
        }
        return super().from_json({**others, "tested": tested, "findings": findings})
