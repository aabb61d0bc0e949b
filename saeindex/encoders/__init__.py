"""Text encoders: local sentence-transformers models, and services with the OpenAI protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from saeindex.config import DEFAULT_ENCODER

if TYPE_CHECKING:
    from saeindex.protocols import TextEncoder

__all__ = ["open_encoder"]


def open_encoder(name: str = DEFAULT_ENCODER, **options: Any) -> TextEncoder:
    """Open an encoder by name: a sentence-transformers model name or path, or ``openai:MODEL``.

    Options go to :class:`saeindex.encoders.sentence_transformers.SentenceTransformerEncoder` or
    :class:`saeindex.encoders.openai.OpenAIEncoder`. The default model is bundled and needs no network.
    """
    if name.startswith("openai:"):
        from saeindex.encoders.openai import OpenAIEncoder

        return OpenAIEncoder(name.removeprefix("openai:"), **options)
    from saeindex.encoders.sentence_transformers import SentenceTransformerEncoder

    return SentenceTransformerEncoder(name, **options)
