"""An embedding service on loopback that answers like OpenAI's, or as a test requires."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from saeindex.encoders.openai import OpenAIEncoder

KEY = "sk-very-secret-key"
DIMENSION = 8
Answer = tuple[int, dict[str, str], Any]


def vector_of(text: str, dimension: int = DIMENSION) -> np.ndarray[Any, Any]:
    digest = hashlib.sha256(text.encode()).digest()
    vector: np.ndarray[Any, Any] = (
        np.frombuffer(digest[:dimension], dtype=np.uint8).astype(np.float32) - 100.5
    )
    return vector


def unit_vectors(texts: list[str]) -> np.ndarray[Any, Any]:
    vectors = np.stack([vector_of(text) for text in texts]).astype(np.float64)
    unit: np.ndarray[Any, Any] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def answer_of(body: dict[str, Any]) -> dict[str, Any]:
    dimension = body.get("dimensions", DIMENSION)
    items: list[dict[str, Any]] = []
    for index, text in enumerate(body["input"]):
        vector = vector_of(text, dimension)
        is_base64 = body.get("encoding_format") == "base64"
        embedding = base64.b64encode(vector.tobytes()).decode() if is_base64 else vector.tolist()
        items.append({"object": "embedding", "index": index, "embedding": embedding})
    usage = {"prompt_tokens": 1, "total_tokens": 1}
    return {"object": "list", "data": items, "model": body["model"], "usage": usage}


class Service:
    """A service on loopback: ``script`` determines the replies to the next requests, before valid replies."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.script: list[Callable[[dict[str, Any]], Answer]] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                service.requests.append(body)
                service.keys.append(self.headers["Authorization"])
                step = service.script.pop(0) if service.script else lambda body: (200, {}, answer_of(body))
                status, headers, answer = step(body)
                payload = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def fail(self, status: int, times: int = 1, message: str = "busy") -> None:
        """Answer with an error, with a retry delay of a millisecond, so that tests do not wait."""
        headers = {"Retry-After": "0.001"}
        self.script += [lambda body: (status, headers, {"error": {"message": message}})] * times

    def alter(self, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
        """Answer the next request with changed items."""
        self.script.append(
            lambda body: (200, {}, answer_of(body) | {"data": change(answer_of(body)["data"])})
        )


@contextmanager
def running_service() -> Iterator[Service]:
    service = Service()
    thread = threading.Thread(target=service.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield service
    service.server.shutdown()
    service.server.server_close()
    thread.join()


def encoder_of(service: Service, **options: Any) -> OpenAIEncoder:
    return OpenAIEncoder("tiny-embedding", base_url=service.url, api_key=KEY, **{"max_retries": 2, **options})
