"""Analyses as jobs for the API: started, asked about, stopped; one runs at a time, the last ones are kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any

from lbw.analysis.effective_blocks import suggest
from lbw.analysis.report import report
from lbw.core.errors import HostError, LbwError
from lbw.core.limits import ANALYSES
from lbw.ui.analyzer_host import AnalyzerHost, Prepared, Question

KEPT = 20
"""Ended jobs whose results can still be asked for."""
WAITING, RUNNING, DONE, STOPPED, FAILED = "waiting", "running", "done", "stopped", "failed"


@dataclass
class Job:
    """One analysis.

    done, total: pictures. left: seconds, as far as that can be told. error: why it failed.
    """

    question: Question
    id: str = field(default_factory=lambda: token_hex(8))
    state: str = WAITING
    done: int = 0
    total: int = 0
    left: float | None = None
    error: str = ""
    prepared: Prepared | None = None
    stop: threading.Event = field(default_factory=threading.Event)

    def progress(self, done: int, total: int, left: float | None) -> None:
        """Be told how far it is."""
        self.done, self.total, self.left = done, total, left

    def summary(self) -> dict[str, Any]:
        """Return how far it is."""
        return {
            "id": self.id,
            "state": self.state,
            "done": self.done,
            "total": self.total,
            "seconds_left": self.left,
            "error": self.error,
        }

    def result(self) -> dict[str, Any] | None:
        """Return the figures, so far; None before the analysis has begun."""
        if self.prepared is None:
            return None
        made = self.prepared
        settings = {"lora": made.lora, "prompt": self.question.prompt}
        return report(made.analysis, settings, suggest(made.analysis.results), made.lora, [])


class Jobs:
    """The jobs of one host."""

    def __init__(self, host: AnalyzerHost) -> None:
        self.host = host
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._lock = threading.Lock()
        self._turn = threading.Lock()

    def start(self, question: Question) -> Job:
        """Begin an analysis and return its job.

        Raises:
            HostError: too many wait already. LbwError: something in the question is wrong; there is no job then.
        """
        with self._lock:
            if sum(job.state == WAITING for job in self._jobs.values()) >= ANALYSES:
                raise HostError(f"{ANALYSES} analyses wait already; stop one of them, or ask again later")
        job = Job(question)
        job.prepared = self.host.prepare(question, job.progress, job.stop.is_set)
        job.total = len(job.prepared.analysis.cells)
        with self._lock:
            self._jobs[job.id] = job
            ended = [key for key, old in self._jobs.items() if old.state not in (WAITING, RUNNING)]
            for key in ended[: max(0, len(ended) - KEPT)]:
                del self._jobs[key]
        threading.Thread(target=self._run, args=(job,), name=f"lbw-{job.id}", daemon=True).start()
        return job

    def get(self, key: str) -> Job | None:
        """Return a job, None if there is none."""
        with self._lock:
            return self._jobs.get(key)

    def stop(self, job: Job) -> None:
        """Stop `job`; one that waits is stopped at once, one that runs at its next sampling step."""
        job.stop.set()
        with self._lock:
            if job.state == WAITING:
                job.state = STOPPED

    def _begins(self, job: Job) -> bool:
        with self._lock:
            if job.state == WAITING:
                job.state = RUNNING
            return job.state == RUNNING

    def _run(self, job: Job) -> None:
        assert job.prepared is not None
        with self._turn:
            if not self._begins(job):
                return
            try:
                for _ in job.prepared.analysis.run(job.prepared.renderer):
                    pass
                job.error = job.prepared.analysis.stop_reason
                job.state = STOPPED if job.stop.is_set() else FAILED if job.error else DONE
            except LbwError as error:
                job.error, job.state = str(error), FAILED
            except Exception as error:  # a job must end, whatever the host raises
                job.error, job.state = f"{type(error).__name__}: {error}", FAILED
