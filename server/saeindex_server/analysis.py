"""The thread that runs analyses, one after another, in their process."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from saeindex.files import replacing
from saeindex_server.analysis_process import OTHER, AnalysisProcess, AnalysisStopped
from saeindex_server.problems import failure_of

if TYPE_CHECKING:
    from saeindex_server.hosts import Hosts
    from saeindex_server.jobs import Job, Jobs


class AnalysisThread:
    """Takes analyses of the queue, and keeps what they find as files."""

    def __init__(self, jobs: Jobs, hosts: Hosts, memory: int, seconds: float) -> None:
        """``memory`` and ``seconds`` limit each analysis."""
        self._jobs, self._hosts, self._seconds = jobs, hosts, seconds
        self._process = AnalysisProcess(memory)
        self._thread = threading.Thread(target=self._run, name="saeindex-analysis", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Wait for the end, after the jobs were closed; what runs then is queued again."""
        self._thread.join(seconds)
        self._process.close()

    def _run(self) -> None:
        while (job := self._jobs.take_analysis()) is not None:
            try:
                self._analyse(job)
            except BaseException as error:
                self._jobs.finish(job.id, "failed", error=failure_of(job.id, job.kind, error))

    def _analyse(self, job: Job) -> None:
        asked: dict[str, Any] = dict(job.asked)
        indexes = [self._hosts.get(job.index)]
        if (other := asked.get(OTHER)) is not None:
            indexes.append(self._hosts.get(other))

        def is_stopped() -> bool:
            return self._jobs.is_to_stop(job.id)

        try:
            found = self._process.run(job.kind, asked, indexes, job.condition, self._seconds, is_stopped)
        except AnalysisStopped as error:
            if is_stopped():
                self._jobs.stopped(job.id)
            else:
                self._jobs.finish(job.id, "failed", error=error)
        else:
            with replacing(self._jobs.result_file(job.id)) as draft:
                draft.write_bytes(found)
            self._jobs.finish(job.id, "done", {"bytes": len(found)})
