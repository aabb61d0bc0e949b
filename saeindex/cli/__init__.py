"""The command line: ``saeindex index | search | features | feature | info | doctor | demo``."""

from __future__ import annotations

import gc
import os

# New objects after which garbage is collected; Python's default is 700.
GARBAGE_THRESHOLD = 100_000


def main() -> None:
    """Run the command line; exits 0, 1 (no result or failed check), 2 (usage) or 3 (runtime error)."""
    # Imports allocate many objects and free none: to look for garbage among them costs a tenth of a short
    # command. Plug-ins of pydantic are looked for among all installed packages, and none is used here.
    gc.set_threshold(GARBAGE_THRESHOLD)
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    from saeindex.cli.app import run

    run()


__all__ = ["main"]
