"""Whether a cache answered, and whether what was to be stored is there."""

import http.client
import re
from dataclasses import replace

from clients import ANSWER_SECONDS, WrongAnswer, ask_curl
from scenarios import Scenario

#: The number of a URL of a load which the load has certainly come to.
ASKED_NUMBER = 100


def check_hit(scenario: Scenario, port: int) -> None:
    """The scenario's request must be answered rightly, and by the cache."""
    body, fields = ask(scenario, port)
    if body != scenario.expected_body():
        raise WrongAnswer(f"{scenario.path}: {len(body)} bytes that begin with {body[:60]!r}")
    if not is_hit(fields):
        raise WrongAnswer(f"{scenario.path} was not answered by the cache: {fields}")


def check_stored(scenario: Scenario, port: int, token: str) -> None:
    """A URL that a load with this token has asked for must have been stored, or, where nothing is cached, not."""
    asked = replace(scenario, path=f"{scenario.path}?{token}-1-{ASKED_NUMBER}")
    if scenario.caching:
        check_hit(asked, port)
    elif is_hit(ask(asked, port)[1]):
        raise WrongAnswer(f"{asked.path} was answered by a cache, and there should be none")


def ask(scenario: Scenario, port: int) -> tuple[bytes, dict[str, str]]:
    """(body, fields) of one answer."""
    if scenario.http2:
        body, head = ask_curl(scenario, port)
        pairs = (line.partition(":") for line in head.splitlines()[1:] if line)
        return body, {name.strip().lower(): value.strip() for name, _, value in pairs}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", scenario.path)
        answer = connection.getresponse()
        return answer.read(), {name.lower(): value for name, value in answer.getheaders()}
    except http.client.HTTPException as failure:
        raise WrongAnswer(f"{scenario.path}: {failure!r}") from None
    finally:
        connection.close()


def is_hit(fields: dict[str, str]) -> bool:
    """Whether palantir, nginx or Varnish say that the answer comes from their cache. Varnish names the request that the
    answer came for, and before it this one."""
    return (re.search(r";\s*hit\b", fields.get("cache-status", "")) is not None or fields.get("x-cache") == "HIT"
            or len(fields.get("x-varnish", "").split()) == 2)
