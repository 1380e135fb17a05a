"""What a job says of itself on its port."""

from __future__ import annotations

import re
from http.client import HTTPConnection

from jobs.stack.ports import HOST

VERSION = re.compile(r"^headrace_model_version (\S+)", re.MULTILINE)


def version_in_use(port: int) -> int:
    """The number of the version that scores; -1 where nothing answers."""
    found = VERSION.search(_get(port, "/metrics")[1])
    return int(float(found[1])) if found else -1


def ready(port: int) -> bool:
    """Whether the job is at work."""
    return _get(port, "/readyz")[0] == 200


def _get(port: int, path: str) -> tuple[int, str]:
    asked = HTTPConnection(HOST, port, timeout=5)
    try:
        asked.request("GET", path)
        answer = asked.getresponse()
        return answer.status, answer.read().decode()
    except OSError:
        return 0, ""
    finally:
        asked.close()
