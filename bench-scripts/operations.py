"""A palantir that is operated while it works: its configuration changed, its binary replaced, its figures watched."""

import http.client
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from processes import Running, Unusable
from programs import SCRIPTS, Site

ANSWER_SECONDS = 60
UPGRADE_SECONDS = 30


@dataclass
class Operated:
    """A running palantir with its management API."""

    site: Site
    admin_port: int
    running: Running
    config: Path

    def ask(self, method: str, path: str, body: dict | None = None) -> tuple[int, dict]:
        """One request to the management API: status and answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=ANSWER_SECONDS)
        try:
            payload = None if body is None else json.dumps(body)
            connection.request(method, path, payload, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            is_json = "json" in (answer.getheader("Content-Type") or "")
            return answer.status, json.loads(text) if is_json else {}
        finally:
            connection.close()

    def pids(self) -> list[int]:
        """All processes that came of the one that was started, replaced ones included: they share its session."""
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if session_of(pid) == self.running.child.pid]

    def revision(self) -> int:
        """Number of the configuration in force."""
        return self.ask("GET", "/version")[1]["revision"]

    def loop_lag_ms(self) -> float:
        """The longest stop of a worker in the second before the last one."""
        return max(worker["loop_lag_worst_ms"] for worker in self.ask("GET", "/workers")[1]["workers"])

    def write(self, more: str = "", access_log: bool = False) -> None:
        """Replaces the configuration file, in one step."""
        text = configuration(self.site, self.admin_port, more, access_log)
        aside = self.config.with_suffix(".new")
        aside.write_text(text)
        aside.replace(self.config)

    def reload(self) -> float:
        """Reloads the file through the API and returns the seconds until it was in force on every core."""
        begun = time.monotonic()
        status, answer = self.ask("POST", "/reload", {})
        if status != 200:
            raise Unusable(f"a reload was answered {status}: {answer}")
        return time.monotonic() - begun

    def upgrade(self) -> None:
        """Replaces the process by a new one and waits until the new one has taken over."""
        before = set(self.pids())
        status, answer = self.ask("POST", "/upgrade", {})
        if status not in (200, 202):
            raise Unusable(f"an upgrade was answered {status}: {answer}")
        deadline = time.monotonic() + UPGRADE_SECONDS
        while time.monotonic() < deadline:
            new = set(self.pids()) - before
            if new and self.answers_as(new):
                return
            time.sleep(0.02)
        raise Unusable(f"no new process took over: {self.running.last_words()}")

    def answers_as(self, pids: set[int]) -> bool:
        """Whether the management API is served by one of these processes."""
        try:
            return self.ask("GET", "/version")[1].get("pid") in pids
        except (OSError, http.client.HTTPException):
            return False


def session_of(pid: int) -> int:
    """The session that a process belongs to; 0 if it has just ended."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[3])
    except (OSError, IndexError):
        return 0


def configuration(site: Site, admin_port: int, more: str, access_log: bool) -> str:
    """The text of palantir's configuration."""
    log = f'\n[access_log]\npath = "{site.folder}/access.log"\nformat = "json"\n' if access_log else ""
    values = {"PROXY_PORT": site.proxy_port, "ORIGIN_PORT": site.origin_port, "ADMIN_PORT": admin_port,
              "WORKERS": 1, "ACCESS_LOG": log, "MORE": more}
    text = (SCRIPTS / "configs" / "operated.toml").read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    return text


@contextmanager
def operated(site: Site, admin_port: int, cpus: list[int], access_log: bool = False,
             more: str = "") -> Iterator[Operated]:
    """Starts palantir with its management API, and `more` at the end of its configuration, behind a route; at the end
    every process of its session is ended."""
    config = site.folder / "operated.toml"
    config.write_text(configuration(site, admin_port, more, access_log))
    running = Running([str(site.palantir), "--config", str(config)], cpus, site.folder / "operated.log")
    palantir = Operated(site, admin_port, running, config)
    try:
        running.wait_until_listening(site.proxy_port)
        running.wait_until_listening(admin_port)
        yield palantir
    finally:
        for pid in palantir.pids():
            if pid != running.child.pid:
                os.kill(pid, signal.SIGKILL)
        running.stop()


class Observers:
    """A scraper that reads the metrics once a second, and an open live page."""

    def __init__(self, palantir: Operated):
        self.palantir = palantir
        self.end = threading.Event()
        self.scrapes = 0
        self.threads = [threading.Thread(target=self.scrape), threading.Thread(target=self.follow)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.end.set()
        for thread in self.threads:
            thread.join()

    def scrape(self) -> None:
        """What Prometheus does."""
        while not self.end.wait(1):
            status, _ = self.palantir.ask("GET", "/metrics")
            self.scrapes += status == 200

    def follow(self) -> None:
        """What the live page does: it reads events for as long as they come."""
        connection = http.client.HTTPConnection("127.0.0.1", self.palantir.admin_port, timeout=2)
        connection.request("GET", "/events", headers={"Accept": "text/event-stream"})
        answer = connection.getresponse()
        while not self.end.is_set():
            answer.readline()
        connection.close()
