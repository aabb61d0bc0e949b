"""Labels by a language model: an interpreter writes a phrase, a predictor that sees only the phrase tests it.

The method follows saerch (arXiv 2408.00657, "automated interpretability"). In addition, the interpreter
sees texts where the feature is weak, and near texts where it is absent; the predictor is tested on these
kinds too, on texts that the interpreter has not seen, and judges several texts per request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, Unpack

import numpy as np

from saeindex.errors import InvalidInputError
from saeindex.features.labelers.examples import Job, plan_jobs
from saeindex.features.labelers.labeler import Labeling, LabelingTask
from saeindex.features.trust import auroc, f1
from saeindex.llm import chat
from saeindex.llm.messages import BadReplyError, InterpreterReply, Messages, read_name, read_scores

if TYPE_CHECKING:
    from saeindex.types import Doubles

# Tokens of a reply in the requested format, for the estimate; and the limits of a reply.
PHRASE_REPLY, SCORE_REPLY = 50, 4
LONGEST_PHRASE_REPLY, LONGEST_SCORE_REPLY = 300, 24
EXPECTED_PHRASE = "a phrase of about eight words for it"
NOTHING = "unclear"
TOO_FEW, UNPAID = "too few texts have it", "the budget was reached"
FIGURES = ("auroc", "f1", "pearson")


# The name of a feature and the scores of its phrase, or the reason why there is none.
_Outcome: TypeAlias = "tuple[InterpreterReply, dict[str, Any]] | str"


class LLMLabeler:
    """A labeler over ``POST /chat/completions`` of any service with the OpenAI protocol.

    Dense features come first, so that a budget is spent on the most used features. A feature keeps its
    earlier label if its reply cannot be read twice in a row, or if the budget does not reach it. With
    ``cache`` a stopped run resumes without paying for a reply twice.
    """

    method: ClassVar[str] = "llm"

    def __init__(
        self,
        model: str,
        *,
        predictor_model: str | None = None,
        concurrency: int = 4,
        progress: Callable[[int, int], None] | None = None,
        **service: Unpack[chat.ServiceKeywords],
    ) -> None:
        """Open a client of a service, see :class:`saeindex.llm.chat.ServiceKeywords`; no request is made yet.

        ``progress`` is called with the number of finished features and the total.
        """
        if concurrency < 1:
            raise InvalidInputError(f"concurrency={concurrency}", "too few", "Use 1 or more.")
        self.model, self.predictor_model = model, predictor_model or model
        self._concurrency, self.progress = concurrency, progress
        self._planned: tuple[LabelingTask, tuple[list[Job], list[int]]] | None = None
        service.setdefault("max_retries", 6)
        service.setdefault("timeout", 600.0)
        self._chat = chat.Chat(**service)

    def __repr__(self) -> str:
        return f"LLMLabeler({self.model!r}, {self.predictor_model!r}, host={self.host!r})"

    @property
    def host(self) -> str:
        """The host name of the service."""
        return self._chat.host

    def estimate(self, task: LabelingTask) -> chat.CostEstimate:
        """Return the requests and the cost of :meth:`label`, without sending a request."""
        jobs, skipped = self._plan(task)
        requests = cached = input_tokens = output_tokens = 0
        for model, messages, reply_tokens in (ahead for job in jobs for ahead in self._ahead(job)):
            if self._chat.cached(model, messages) is not None:
                cached += 1
                continue
            requests += 1
            input_tokens += chat.count_tokens(messages)
            output_tokens += reply_tokens
        return chat.CostEstimate(len(jobs), len(skipped), requests, cached, input_tokens, output_tokens)

    def label(self, task: LabelingTask) -> Labeling:
        """Label features concurrently; LabelerError if the service fails permanently.

        ``report`` has the models, the predictor's mean figures and the cost; ``evidence`` the predictor's
        figures of each feature, see :func:`prediction_scores`.
        """
        jobs, skipped = self._plan(task)
        found = dict(sorted(self._run(jobs)))
        done = {feature: one for feature, one in found.items() if not isinstance(one, str)}
        reasons = {feature: one for feature, one in found.items() if isinstance(one, str)}
        phrases = {feature: named.label for feature, (named, _) in done.items()}
        evidence = {feature: scores for feature, (_, scores) in done.items()}
        left = dict.fromkeys(skipped, TOO_FEW) | reasons
        report = {
            "model": self.model,
            "predictor_model": self.predictor_model,
            "host": self.host,
            "labelled": len(phrases),
            "left": len(left),
            "predictor": mean_scores(list(evidence.values())),
            "spent": self._chat.ledger.spent,
        }
        descriptions = {
            feature: named.description for feature, (named, _) in done.items() if named.description
        }
        return Labeling(phrases, left, evidence, report, descriptions)

    def _plan(self, task: LabelingTask) -> tuple[list[Job], list[int]]:
        """Return the jobs of a task, cached: planning takes minutes for thousands of features."""
        if self._planned is None or self._planned[0] is not task:
            self._planned = task, plan_jobs(task)
        return self._planned[1]

    def _ahead(self, job: Job) -> Iterator[tuple[str, Messages, int]]:
        """Yield the requests of a job, as far as they are known: model, messages and reply length."""
        phrase, messages = EXPECTED_PHRASE, job.interpret()
        yield self.model, messages, PHRASE_REPLY
        if known := self._chat.cached(self.model, messages):
            phrase = read_name(known).label
        for messages, count in job.predict(phrase):
            yield self.predictor_model, messages, SCORE_REPLY * (count + 2)

    def _run(self, jobs: Sequence[Job]) -> Iterator[tuple[int, _Outcome]]:
        """Yield outcomes as they arrive; after a permanent failure the requests already sent still finish."""
        pool = ThreadPoolExecutor(self._concurrency, thread_name_prefix="labels")
        try:
            running = {pool.submit(self._outcome, job): job.feature for job in jobs}
            for done, future in enumerate(as_completed(running), 1):
                yield running[future], future.result()
                if self.progress is not None:
                    self.progress(done, len(jobs))
        finally:
            pool.shutdown(cancel_futures=True)

    def _outcome(self, job: Job) -> _Outcome:
        try:
            named = self._chat.ask(self.model, job.interpret(), LONGEST_PHRASE_REPLY, read_name)
            if named.label.casefold().strip(".") == NOTHING:
                return "the model found nothing that its texts share"
            likelihood: list[float] = []
            for messages, count in job.predict(named.label):
                longest = LONGEST_SCORE_REPLY * (count + 2)
                read = partial(read_scores, count=count)
                likelihood += self._chat.ask(self.predictor_model, messages, longest, read)
        except BadReplyError as error:
            return f"bad reply: {error}"
        except chat.RefusedError as error:
            return f"refused: {error}"
        except chat.BudgetReachedError:
            return UNPAID
        return named, prediction_scores(np.array(likelihood), job.kinds, job.activation)


def prediction_scores(likelihood: Doubles, kinds: Sequence[str], activation: Doubles) -> dict[str, Any]:
    """Return AUROC, F1 at a likelihood of 0.5 and Pearson correlation of ``likelihood`` (r,).

    AUROC and F1 are for the kind ``active`` (typical for the feature) against the others; the Pearson
    correlation is with the ``activation`` (r,). The texts are chosen to be hard, so the figures over a corpus
    differ. None where a value does not vary.
    """
    is_active = np.array(kinds) == "active"
    varies = likelihood.std() > 1e-12 and activation.std() > 1e-12
    column = likelihood[:, None].astype(np.float32)
    return {
        "auroc": float(auroc(column, is_active)[0]) if 0 < is_active.sum() < len(is_active) else None,
        "f1": f1(likelihood >= 0.5, is_active),
        "pearson": float(np.corrcoef(likelihood, activation)[0, 1]) if varies else None,
        "texts": len(is_active),
    }


def mean_scores(evidence: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the mean of each figure over features, None where no feature has it."""
    known = {name: [one[name] for one in evidence if one[name] is not None] for name in FIGURES}
    return {name: float(np.mean(values)) if values else None for name, values in known.items()}
