"""Names and limits that are the same everywhere."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias
from uuid import UUID

# The format of indexes, and of feature spaces.
FORMAT_VERSION: Final = 2
SPACE_FORMAT: Final = 1
DEFAULT_ENCODER: Final = "all-MiniLM-L6-v2"
DEFAULT_SPACE: Final = "minilm-concepts"

# Named vectors and payload fields of the storage layout; a further text field adds a suffix.
DENSE: Final = "dense"
SAE: Final = "sae"
CONCEPTS: Final = "concepts"
TEXT: Final = "text"
WORDS: Final = "words"
# The features of a text's tokens, by a second space.
READER: Final = "reader"
# The kind of a reader that is a language model.
CAUSAL: Final = "causal-lm"
# A search by all that an index has of a text: its vector, its sentences and its words.
FUSED: Final = "fused"
# The vectors of the sentences of a text, and where these are in it.
SENTENCES: Final = "sentences"
SPANS: Final = "spans"
# The evidence of a text's named concepts in percent, and the sentence that speaks most for each.
EVIDENCE: Final = "evidence"
SPEAKING: Final = "speaking"
# The document that a record is a piece of, and whether the encoder cuts its text.
DOCUMENT: Final = "document"
TRUNCATED: Final = "truncated"
# The source that gave a record last, by the name that ``upsert`` was given.
SOURCE: Final = "source"
# Texts with letters of a script that puts no spaces between words: engines find no words within these.
UNSPACED: Final = "unspaced"

# What a target begins with that is the name of a family or of a profile.
FAMILY: Final = "family:"
PROFILE: Final = "profile:"

# What an index keeps of the sentences of its records: vectors and spans, spans alone, or nothing.
SentenceStorage: TypeAlias = Literal["stored", "codes", "off"]
DEFAULT_SENTENCES: Final[SentenceStorage] = "stored"
# The language in which an index keeps words, or "off".
DEFAULT_WORDS: Final = "english"
# Sentences of a text that are kept; the text after them has no vectors but that of the whole.
MAX_SENTENCES: Final = 1_000

# A point's id is uuid5(POINT_NAMESPACE, record_id): indexing a record again replaces it.
POINT_NAMESPACE: Final = UUID("6f1d7c1e-52a5-5a0b-9c8e-3d1f0a5e7b42")

# A level code is feature * LEVEL_STRIDE + level; level 0 present, 1 typical, 2 strong, 3 possible.
LEVEL_STRIDE: Final = 4
LEVELS: Final = 4
# By the name of a level, the levels of which a record has one. A feature that is present is possible.
LEVELS_OF: Final = {"possible": (3, 0), "present": (0,), "typical": (1,), "strong": (2,)}


def suffixed(base: str, field: str) -> str:
    """Return the name of a text field's vector or payload key; the main text ("") has no suffix."""
    return f"{base}_{field}" if field else base


# Default number of concepts that facets and suggestions list.
FACETS: Final = 10
MAX_QUERY_CHARS: Final = 100_000
MAX_LIMIT: Final = 10_000
MAX_STRENGTH: Final = 100.0

# Folder in an index directory with embeddings of words and snapshots; rebuilt where they are missing.
CACHE_FOLDER: Final = "cache"
# Folders in an index directory with the feature space that the index was built with, and with its reader.
SPACE_FOLDER: Final = "space"
READER_FOLDER: Final = "reader"
