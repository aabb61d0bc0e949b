"""A chat service on loopback with the OpenAI protocol, and texts whose features are planted words."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saeindex.features import Calibration
from saeindex.features.labelers import CodedTexts, LabelingTask, LLMLabeler
from saeindex.llm.messages import CLOSE, OPEN
from saeindex.types import SparseCode

KEY = "sk-very-secret-key"
WORDS = ["galaxy", "violin", "omelette", "pension"]
FILLERS = ["zorak", "plimol", "kratin", "mulur", "venep", "tasak", "zorol", "plimin", "kratur", "mulep"]

REQUESTS_PER_FEATURE = 1 + 3  # a phrase, and 25 texts by tens

# The reply to a request: a status and the JSON of the answer, or the raw body.
Answer = tuple[int, Any]
Step = Callable[[dict[str, Any]], Answer]


def blocks(body: dict[str, Any]) -> list[list[str]]:
    """Return the texts of each data block of a request."""
    content = body["messages"][-1]["content"]
    found = re.findall(rf"^{re.escape(OPEN)}\n(.*?)^{re.escape(CLOSE)}$", content, re.DOTALL | re.MULTILINE)
    return [[json.loads(line)["text"] for line in block.splitlines()] for block in found]


def is_interpreter(body: dict[str, Any]) -> bool:
    return '{"label"' in body["messages"][-1]["content"]


def phrase_of(body: dict[str, Any]) -> str:
    found = re.search(r"^The concept: (.*)$", body["messages"][-1]["content"], re.MULTILINE)
    assert found
    return str(json.loads(found[1]))


def model_reply(body: dict[str, Any]) -> str:
    """Answer as a good model would: name the word common to the strong texts, and find it in others."""
    if is_interpreter(body):
        strong, *_, absent = blocks(body)
        elsewhere = {word for text in absent for word in text.split()}
        words = Counter(word for text in strong for word in set(text.split()) if word not in elsewhere)
        return json.dumps({"label": words.most_common(1)[0][0] if words else "unclear"})
    (texts,) = blocks(body)
    return json.dumps({"scores": [90 if phrase_of(body) in text.split() else 10 for text in texts]})


def answer_of(content: str | None, usage: dict[str, int] | None = None) -> dict[str, Any]:
    message = {"role": "assistant", "content": content}
    answer: dict[str, Any] = {
        "id": "1", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
    }  # fmt: skip
    return answer if usage is None else {**answer, "usage": usage}


class ChatService:
    """``script`` determines the replies to the next requests; ``default_reply`` answers the others."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.script: list[Step] = []
        self.default_reply: Callable[[dict[str, Any]], str | None] = model_reply
        self.usage: dict[str, int] | None = {
            "prompt_tokens": 500,
            "completion_tokens": 20,
            "total_tokens": 520,
        }
        self.under_way, self.most_under_way = 0, 0
        self._lock = threading.Lock()
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, answer = service.handle(body, self.headers["Authorization"])
                payload = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Retry-After", "0.001")
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def handle(self, body: dict[str, Any], key: str | None) -> Answer:
        with self._lock:
            self.requests.append(body)
            self.keys.append(key)
            step = self.script.pop(0) if self.script else None
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            return step(body) if step else (200, answer_of(self.default_reply(body), self.usage))
        finally:
            with self._lock:
                self.under_way -= 1

    def reply(self, *contents: str) -> None:
        """Answer the next requests with these contents."""

        def reply_with(content: str) -> Step:
            return lambda body: (200, answer_of(content, self.usage))

        self.script += [reply_with(content) for content in contents]

    def fail(self, status: int, message: str = "busy", times: int = 1, **fields: Any) -> None:
        self.script += [lambda body: (status, {"error": {"message": message, **fields}})] * times


@contextmanager
def running_service() -> Iterator[ChatService]:
    service = ChatService()
    thread = threading.Thread(target=service.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield service
    finally:
        service.server.shutdown()
        service.server.server_close()
        thread.join()


def labeler_of(service: ChatService, **options: Any) -> LLMLabeler:
    return LLMLabeler("writer", base_url=service.url, api_key=KEY, **{"max_retries": 2, **options})


def planted_texts(rows: int, seed: int = 0) -> tuple[list[str], SparseCode, NDArray[np.float32]]:
    """Return texts, a code whose feature i is word i, and embeddings by the words of a text."""
    rng = np.random.default_rng(seed)
    has_word = rng.random((rows, len(WORDS))) < 0.2
    texts = []
    for number, row in enumerate(has_word):
        words = [
            *rng.choice(FILLERS, 6),
            *[w for w, is_in in zip(WORDS, row, strict=True) if is_in],
            f"t{number}",
        ]
        texts.append(" ".join(rng.permutation(words)))
    z = np.where(has_word, rng.uniform(0.5, 1.5, has_word.shape), 0).astype(np.float32)
    at, features = np.nonzero(z)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(at, minlength=rows))]).astype(np.int64)
    code = SparseCode(indptr, features.astype(np.int32), z[at, features], len(WORDS))
    return texts, code, embed(texts)


def embed(texts: Sequence[str]) -> NDArray[np.float32]:
    known = [*WORDS, *FILLERS]
    counts = np.array([text.split().count(w) for text in texts for w in known], np.float32)
    counts = counts.reshape(len(texts), len(known))
    unit: NDArray[np.float32] = counts / np.maximum(1e-6, np.linalg.norm(counts, axis=1, keepdims=True))
    return unit.astype(np.float32)


def planted_task(features: Sequence[int] = range(len(WORDS)), rows: int = 600) -> LabelingTask:
    """Return the task of naming the planted words."""
    shown, unseen = planted_texts(rows), planted_texts(rows // 2, seed=1)
    calibration = Calibration.measure(shown[1])

    def coded(part: tuple[list[str], SparseCode, NDArray[np.float32]]) -> CodedTexts:
        return CodedTexts(part[0], part[2], part[1])

    return LabelingTask(coded(shown), coded(unseen), calibration, embed, tuple(features))
