"""Text encoders: local sentence-transformers models, and services with the OpenAI protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

from saeindex.config import CAUSAL, DEFAULT_ENCODER
from saeindex.schema import check_options

if TYPE_CHECKING:
    from openai import OpenAI

    from saeindex.protocols import EncoderIdentity, TextEncoder

__all__ = ["EncoderKeywords", "open_encoder", "opened_as"]


class EncoderKeywords(TypedDict, total=False):
    """Options of encoders: first those of both kinds, then of local models, then of services."""

    max_length: int
    query_prompt: str
    document_prompt: str
    batch_tokens: int
    precision: str
    device: str
    revision: str
    trust_remote_code: bool
    base_url: str
    api_key: str
    dimensions: int
    batch_texts: int
    max_retries: int
    timeout: float
    input_types: str
    encoding_format: Literal["base64", "float"]
    client: OpenAI


def open_encoder(name: str = DEFAULT_ENCODER, **options: Unpack[EncoderKeywords]) -> TextEncoder:
    """Open an encoder by name: a sentence-transformers model name or path, or ``openai:MODEL``.

    The options are those of :class:`saeindex.encoders.sentence_transformers.SentenceTransformerEncoder` or of
    :class:`saeindex.encoders.openai.OpenAIEncoder`; InvalidInputError for one that the encoder does not take.
    The default model is bundled and needs no network.
    """
    given: dict[str, Any] = {**options}
    if name.startswith("openai:"):
        from saeindex.encoders.openai import OpenAIEncoder

        check_options(OpenAIEncoder, given, f"encoder {name!r}", ("model",))
        return OpenAIEncoder(name.removeprefix("openai:"), **given)
    from saeindex.encoders.sentence_transformers import SentenceTransformerEncoder

    check_options(SentenceTransformerEncoder, given, f"encoder {name!r}", ("model",))
    return SentenceTransformerEncoder(name, **given)


def opened_as(wanted: EncoderIdentity, **options: Unpack[EncoderKeywords]) -> TextEncoder:
    """Open the encoder of an identity, with its prompts, lengths and dimensions."""
    if wanted.kind == CAUSAL:
        from saeindex.encoders.causal import reader_of

        return reader_of(wanted, **options)
    own: Any = {one: getattr(wanted, one) for one in ("max_length", "query_prompt", "document_prompt")}
    if wanted.kind != "openai":
        from saeindex.encoders.sentence_transformers import place_of

        return open_encoder(place_of(wanted), **{**own, "dimensions": wanted.dimension, **options})
    own = {**own, "input_types": wanted.input_types, **options}
    encoder = open_encoder(f"openai:{wanted.model}", **own)
    if encoder.identity.dimension != wanted.dimension:  # not all services may be asked for a number
        encoder = open_encoder(f"openai:{wanted.model}", **{"dimensions": wanted.dimension, **own})
    return encoder
