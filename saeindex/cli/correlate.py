"""``saeindex correlate`` and ``saeindex triggers``."""

from __future__ import annotations

from typing import Any

from saeindex.cli.delivery import Delivery
from saeindex.cli.options import asks
from saeindex.cli.output import Index
from saeindex.operations.associations import Correlate, FindTriggers


@asks(Correlate, concepts="concept", with_concepts="with_concept")
def correlate(
    index: Index,
    options: dict[str, Any],
    delivery: Delivery,
) -> None:
    """Find concepts that occur together more often, or less often, than by chance.

    A concept is NAME=DESCRIPTION (further parts after semicolons: against: TEXT; share: 0.05),
    NAME=like: ID, ID; unlike: ID, NAME=#12,#41@strong, or NAME=metadata.FIELD=VALUE.
    """
    from saeindex.index import FeatureIndex

    with FeatureIndex.open(index, url=delivery.url) as opened:
        found = opened.correlate(**options)
    named = ", ".join(options.get("concepts", ()))
    delivery.deliver(found, f"Which concepts occur with {named}?" if named else "")


@asks(FindTriggers, arguments=("behaviour",))
def triggers(
    index: Index,
    options: dict[str, Any],
    delivery: Delivery,
) -> None:
    """Find concepts of prompts that trigger a behaviour of the responses, with examples."""
    from saeindex.index import FeatureIndex

    with FeatureIndex.open(index, url=delivery.url) as opened:
        found = opened.triggers(**options)
    delivery.deliver(found)
