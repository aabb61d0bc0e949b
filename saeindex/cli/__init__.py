"""The command line: ``saeindex index | search | features | feature | info | doctor | demo``."""

from __future__ import annotations


def main() -> None:
    """Run the command line; exits 0, 1 (no result or failed check), 2 (usage) or 3 (runtime error)."""
    from saeindex.cli.app import run

    run()


__all__ = ["main"]
