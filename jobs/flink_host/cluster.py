"""A Flink cluster, by its REST interface: its jobs, and what becomes of them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import msgspec

from streams.errors import InputError, ServiceError

ANSWER_S = 10.0
LOOK_S = 0.1
ENDED = ("FINISHED", "CANCELED", "FAILED")


class FlinkJob(msgspec.Struct, frozen=True):
    """A job of the cluster."""

    id: str
    name: str
    state: str
    started_ms: int


class FlinkCluster:
    """The cluster whose REST interface is at `address`, such as http://127.0.0.1:8081.

    Raises ServiceError where it does not answer, InputError for what it refuses.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")

    def jobs(self) -> list[FlinkJob]:
        """All it knows of, the newest first."""
        found = [
            FlinkJob(each["jid"], each["name"], each["state"], each["start-time"])
            for each in self.ask("/jobs/overview")["jobs"]
        ]
        return sorted(found, key=lambda job: -job.started_ms)

    def job(self, given: str) -> FlinkJob:
        """The job of this id, or the beginning of one, or the newest of this name."""
        for job in self.jobs():
            if job.id.startswith(given) or job.name == given:
                return job
        known = ", ".join(f"{job.id} ({job.name})" for job in self.jobs()) or "none"
        raise InputError(f"{self.address}: wanted a job {given}, got {known}")

    def running(self, name: str) -> FlinkJob | None:
        """The job of this name that has not ended."""
        return next((j for j in self.jobs() if j.name == name and j.state not in ENDED), None)

    def lanes(self, job: str) -> int:
        """Into how many shares keys are divided: the most tasks that its operators can have."""
        return max(int(each["maxParallelism"]) for each in self.ask(f"/jobs/{job}")["vertices"])

    def setting(self, name: str) -> str | None:
        """One of Flink's own settings, as the cluster was started with it."""
        known = {each["key"]: each["value"] for each in self.ask("/jobmanager/config")}
        return known.get(name)

    def savepoint(self, job: str, folder: str | None, timeout: float) -> str:
        """Have the job's state written to a folder, by default the cluster's; where it is."""
        return self._written(job, "savepoints", {"cancel-job": False}, folder, timeout)

    def stop(self, job: str, folder: str | None, timeout: float) -> str:
        """End the job with a savepoint, after all it has taken in came out; where that is."""
        return self._written(job, "stop", {"drain": False}, folder, timeout)

    def cancel(self, job: str) -> None:
        """End the job; what it has not committed is lost to it, not to its topics."""
        self.ask(f"/jobs/{job}?mode=cancel", {}, method="PATCH")

    def started(self, job: str, timeout: float) -> None:
        """Return once every task of a job that was just submitted is at work.

        Raises ServiceError with the cause where one fails, or when they are not in time.
        """
        deadline = time.monotonic() + timeout
        while True:
            told = self.ask(f"/jobs/{job}")
            tasks = {each["name"]: each["status"] for each in told["vertices"]}
            if all(status in {"RUNNING", "FINISHED"} for status in tasks.values()):
                return
            why = self.why(job)
            if why or time.monotonic() > deadline:
                waiting = [name for name, status in tasks.items() if status != "RUNNING"]
                raise ServiceError(
                    f"{self.address}: wanted the tasks of job {job} at work, got it "
                    f"{told['state']}, not yet {waiting[0]}{why}"
                )
            time.sleep(LOOK_S)

    def wait(self, job: str, states: tuple[str, ...], timeout: float) -> str:
        """The job's state, once it is one of these. Raises ServiceError when it is not in time."""
        deadline = time.monotonic() + timeout
        while True:
            state: str = self.ask(f"/jobs/{job}")["state"]
            if state in states:
                return state
            if time.monotonic() > deadline:
                wanted = " or ".join(states)
                raise ServiceError(
                    f"{self.address}: wanted job {job} {wanted}, got {state} after "
                    f"{timeout:.0f} s{self.why(job)}"
                )
            time.sleep(LOOK_S)

    def why(self, job: str) -> str:
        """Of a job that failed, the cause, as the end of a sentence; empty if none is known."""
        told = self.ask(f"/jobs/{job}/exceptions").get("exceptionHistory", {}).get("entries", [])
        if not told:
            return ""
        lines = told[0]["stacktrace"].splitlines()
        causes = [line for line in lines if "Caused by" in line] or lines[:1]
        cause = causes[-1].removeprefix("Caused by: ") if causes else told[0]["exceptionName"]
        return f": {cause}; see {self.address}/#/job/running/{job}/exceptions"

    def _written(
        self, job: str, what: str, asked: Mapping[str, Any], folder: str | None, timeout: float
    ) -> str:
        body = {**asked, "targetDirectory": folder} if folder else asked
        trigger = self.ask(f"/jobs/{job}/{what}", body)["request-id"]
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            told = self.ask(f"/jobs/{job}/savepoints/{trigger}")
            if told["status"]["id"] == "COMPLETED":
                done = told["operation"]
                if "location" in done:
                    return str(done["location"])
                cause = done["failure-cause"]["stack-trace"].splitlines()
                said = [line for line in cause if "Caused by" in line] or cause
                raise InputError(f"{self.address}: no savepoint of job {job}: {said[-1]}")
            time.sleep(LOOK_S)
        raise ServiceError(
            f"{self.address}: wanted a savepoint of job {job} within {timeout:.0f} s, got none; "
            "it may still be written: see the job's checkpoints on the web page"
        )

    def ask(self, path: str, body: Mapping[str, Any] | None = None, method: str = "") -> Any:
        """Flink's own answer to a GET, or to a POST of a body."""
        raw = None if body is None else msgspec.json.encode(body)
        method = method or ("GET" if body is None else "POST")
        headers = {"Content-Type": "application/json"}
        request = Request(f"{self.address}{path}", raw, headers, method=method)  # noqa: S310
        try:
            with urlopen(request, timeout=ANSWER_S) as answer:  # noqa: S310 - as given
                content = answer.read()
        except HTTPError as error:
            said = error.read().decode(errors="replace")[:300]
            raise InputError(f"{self.address}{path}: Flink refused: {said}") from error
        except (URLError, OSError) as error:
            reason = getattr(error, "reason", error)
            raise ServiceError(
                f"{self.address}: wanted a Flink cluster, got {reason}; start one with "
                "`headrace up flink`, or name it with --flink"
            ) from error
        return msgspec.json.decode(content) if content else None
