"""Replies of a language model on disk, by what was asked of whom."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

from saeindex.files import replacing

Messages = Sequence[Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply's text and the tokens that it cost."""

    text: str
    input_tokens: int
    output_tokens: int

    __pydantic_config__: ClassVar = {"extra": "forbid"}  # for what is read from a file


class ReplyCache:
    """One JSON file per reply, named by the hash of the model, the service's host and the messages.

    The files hold replies and counts, never what was asked. A file that cannot be read is as none at all.
    """

    def __init__(self, folder: Path | None) -> None:
        """Take the folder, which need not exist; None remembers nothing."""
        self._folder = folder

    def get(self, model: str, host: str, messages: Messages) -> Reply | None:
        """Return what was answered before."""
        from pydantic import TypeAdapter, ValidationError

        path = self._path(model, host, messages)
        if path is None or not path.is_file():
            return None
        try:
            return TypeAdapter(Reply).validate_json(path.read_bytes(), strict=True)
        except ValidationError:
            return None

    def put(self, model: str, host: str, messages: Messages, reply: Reply) -> None:
        """Keep a reply; it is whole or not there, also where several processes write it."""
        path = self._path(model, host, messages)
        if path is None:
            return
        with replacing(path) as draft:
            draft.write_text(json.dumps(asdict(reply)))

    def _path(self, model: str, host: str, messages: Messages) -> Path | None:
        if self._folder is None:
            return None
        asked = json.dumps([model, host, [dict(message) for message in messages]], sort_keys=True)
        key = hashlib.sha256(asked.encode(errors="surrogatepass")).hexdigest()
        return self._folder / key[:2] / f"{key}.json"
