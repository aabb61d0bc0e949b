"""Write the speeches that come with the package: `python -m benchmarks.speeches`.

State of the Union speeches, `fit` and `choose`, which no model of the package was fitted on: of each year as
many paragraphs, of the same distance from each other, that the encoder reads whole.
"""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from operator import itemgetter

import numpy as np

from benchmarks import data
from saeindex.samples import SPEECHES
from saeindex.types import Record

A_YEAR, SHORTEST, LONGEST = 17, 200, 1_100
PRESIDENTS = {
    "Truman": "Harry S. Truman", "Eisenhower": "Dwight D. Eisenhower", "Kennedy": "John F. Kennedy",
    "Johnson": "Lyndon B. Johnson", "Nixon": "Richard Nixon", "Ford": "Gerald Ford", "Carter": "Jimmy Carter",
    "Reagan": "Ronald Reagan", "Bush": "George H. W. Bush", "Clinton": "Bill Clinton",
    "GWBush": "George W. Bush",
}  # fmt: skip


def chosen() -> list[Record]:
    """Return the paragraphs, named by year and number, in their order."""
    years: dict[int, list[Record]] = defaultdict(list)
    for record in data.read("us_speeches"):
        is_known = record.metadata["kind"] == "state_of_the_union" and record.metadata["part"] != "test"
        if is_known and SHORTEST <= len(record.text) <= LONGEST:
            years[record.metadata["year"]].append(record)
    found = []
    for year in sorted(years):
        numbered = sorted(((int(one.id.rpartition("-")[2]), one) for one in years[year]), key=itemgetter(0))
        places = np.linspace(0, len(numbered) - 1, min(len(numbered), A_YEAR)).round().astype(int)
        for number, one in (numbered[place] for place in places.tolist()):
            said = {"year": year, "president": PRESIDENTS[one.metadata["president"]]}
            found.append(Record(f"{year}-{number}", one.text, said | {"party": one.metadata["party"]}))
    return found


def main() -> None:
    """Write the file."""
    lines = [
        json.dumps({"id": r.id, "text": r.text, "metadata": r.metadata}, ensure_ascii=False) for r in chosen()
    ]
    SPEECHES.write_bytes(gzip.compress("".join(f"{one}\n" for one in lines).encode("utf-8"), mtime=0))
    print(f"{len(lines)} paragraphs, {SPEECHES.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
