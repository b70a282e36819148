"""One round of one scenario against one proxy: started alone, checked, warmed up, measured, checked again, stopped."""

import os
import subprocess
import time
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

from caches import check_hit, check_stored
from clients import IdleConnections, WrongAnswer, check_answer, count_failures, origin_requests
from loads import Collapse, Load, beside, load
from processes import CpuReading, Running, memory_kib, softirq_nanoseconds
from programs import Site
from scenarios import POST_BYTES, REFUSED_REQUESTS, REFUSED_SECONDS, Scenario

#: Memory is read when this share of a round has passed: under load, with every connection open.
MEMORY_AFTER = 0.75
#: Most of the CPU time of a round that may be unaccounted for by the living threads.
MISSED_SHARE = 0.02
#: palantir's ways to choose a backend.
ALGORITHMS = ("round_robin", "least_connections", "random_two", "peak_ewma", "consistent_hash")
#: How far the bytes that wrk received may be from what the checked answer predicts.
BYTES_TOLERANCE = 0.02
#: Connections that do a request before the idle scenario reads memory first, so that code and pools are in place.
IDLE_WARM_UP = 64
IDLE_SETTLE_SECONDS = 1.0
#: URLs that are asked for one after the other in a round, by many at once.
COLLAPSE_URLS = 3


@dataclass(frozen=True)
class Cores:
    """Which CPUs a round uses: `proxy` for the proxy alone, `load` for the origin and the clients."""

    proxy: list[int]
    load: list[int]


@dataclass
class Round:
    """What one round showed. `problems` is empty when everything was answered rightly; otherwise nothing of it
    may be quoted."""

    figures: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def cores_for(scenario: Scenario) -> Cores:
    """One CPU for the proxy and the next ones for the load. The `cores` and `collapse` scenarios give the proxy two,
    and keep the load away from them only where the machine has four."""
    cpus = sorted(os.sched_getaffinity(0))
    if scenario.kind in ("cores", "collapse"):
        return Cores(cpus[:2], cpus[2:4] if len(cpus) >= 4 else cpus[:2])
    return Cores(cpus[:1], cpus[1:3])


def run_round(site: Site, scenario: Scenario, proxy: str, workers: int, seconds: int, warm_up: int) -> Round:
    """Measures once. What goes wrong with the answers is in `problems`; what goes wrong with the run is raised."""
    cores = cores_for(scenario)
    measured = Round()
    if scenario.kind == "refused":
        measure_refused(site, scenario, proxy, cores, measured)
        return measured
    if scenario.kind == "collapse":
        measure_collapse(site, scenario, proxy, cores, measured)
        return measured
    is_slow = scenario.company and scenario.company.is_slow
    with (site.start("slow", cores.load) if is_slow else nullcontext(), site.start("origin", cores.load),
          site.start("bulk", cores.load) if scenario.behind.bulk else nullcontext(),
          site.start("sink", cores.load) if scenario.behind.sink else nullcontext(),
          site.start(proxy, cores.proxy, workers, client=scenario.client, backend=scenario.backend,
                     behind=scenario.behind, caching=scenario.caching) as running):
        try:
            if scenario.kind == "idle":
                measure_idle(site, scenario, running, measured)
            else:
                measure_load(site, scenario, running, cores, (seconds, warm_up), measured)
        except (WrongAnswer, OSError) as failure:
            measured.problems.append(str(failure))
        if running.child.poll() is not None:
            measured.problems.append(f"{proxy} ended by itself: {running.last_words()}")
    return measured


def measure_load(site: Site, scenario: Scenario, running: Running, cores: Cores, durations: tuple[int, int],
                 measured: Round) -> None:
    """CPU per request, latency and memory under load."""
    seconds, warm_up = durations
    answer_bytes = check_answer(scenario, site.proxy_port)
    with load(scenario, site.proxy_port, cores.load, warm_up) as warming:
        measured.problems += errors_of(warming.figures(), "in the warm-up: ")
    if scenario.hits:
        check_hit(scenario, site.proxy_port)

    seen_before = origin_requests(site.origin_port)
    softirq_before = softirq_nanoseconds(cores.proxy)
    before = CpuReading(running.pids())
    with (beside(scenario, site.proxy_port, cores.load, seconds) as companion,
          load(scenario, site.proxy_port, cores.load, seconds) as loading):
        rss, pss = memory_under_load(loading, running, seconds)
        loaded = loading.figures()
        accompanied = companion.figures() if companion else {}
    after = CpuReading(running.pids())
    softirq = softirq_nanoseconds(cores.proxy) - softirq_before
    seen = origin_requests(site.origin_port) - seen_before

    check_answer(scenario, site.proxy_port)
    if scenario.new_urls:
        check_stored(scenario, site.proxy_port, loading.token)
    measured.problems += errors_of(loaded, "")
    if scenario.company:
        measured.problems += errors_of(accompanied, "in the company: ")
    measured.problems += doubts(loaded, answer_bytes, scenario, seen)
    measured.problems += cpu_doubts(before, after)
    requests = max(loaded["requests"], 1)
    measured.figures = {
        "cpu_us": (after.ran - before.ran) / requests / 1000,
        "softirq_us": softirq / requests / 1000,
        # Others who took the proxy's core: a noisy machine shows here.
        "waited_share": (after.waited - before.waited) / max(after.ran - before.ran, 1),
        "requests_per_second": loaded["requests"] / (loaded["duration_us"] / 1e6),
        "requests": loaded["requests"],
        "p50_us": loaded["p50_us"],
        "p99_us": loaded["p99_us"],
        "p999_us": loaded["p999_us"],
        "rss_kib": rss,
        "pss_kib": pss,
        "flood_connections": accompanied.get("connections", 0),
        "flood_ended": accompanied.get("ended", 0),
        **figures_of_company(scenario, accompanied),
        "cpu_share": (after.ran - before.ran) / (loaded["duration_us"] * 1000),
    }


def figures_of_company(scenario: Scenario, accompanied: dict) -> dict[str, float]:
    """How much was answered beside the load."""
    if not scenario.company:
        return {"company_requests": 0, "company_per_second": 0, "company_gb_per_second": 0}
    seconds = accompanied["duration_us"] / 1e6
    moved = accompanied["bytes"] + accompanied["requests"] * scenario.company.body_bytes
    return {"company_requests": accompanied["requests"], "company_per_second": accompanied["requests"] / seconds,
            "company_gb_per_second": moved / seconds / 1e9}


def measure_refused(site: Site, scenario: Scenario, proxy: str, cores: Cores, measured: Round) -> None:
    """How many requests fail while a backend refuses connections, with each algorithm of palantir's, each time from the
    start of the proxy on."""
    ways = [replace(scenario, path="/small"), replace(scenario, path="/post", method="POST", body_bytes=POST_BYTES)]
    with site.start("origin", cores.load):
        for algorithm in ALGORITHMS if proxy == "palantir" else ("default",):
            behind = replace(scenario.behind, algorithm=algorithm if proxy == "palantir" else "")
            for way in ways:
                with site.start(proxy, cores.proxy, behind=behind):
                    made, failed = count_failures(way, site.proxy_port, REFUSED_REQUESTS, REFUSED_SECONDS)
                measured.figures |= {f"made {algorithm} {way.method}": made, f"failed {algorithm} {way.method}": failed}


def measure_collapse(site: Site, scenario: Scenario, proxy: str, cores: Cores, measured: Round) -> None:
    """How many of many requests for one URL go to the backend, and how long the others wait for what it sends."""
    with site.start(proxy, cores.proxy, len(cores.proxy), caching=scenario.caching):
        try:
            with Collapse(scenario, site.proxy_port, site.origin_port, cores.load, COLLAPSE_URLS) as loading:
                measured.figures = loading.figures()
        except WrongAnswer as failure:
            measured.problems.append(str(failure))


def memory_under_load(loading: Load, running: Running, seconds: int) -> tuple[int, int]:
    """(RSS, PSS) in KiB in the middle of a round."""
    try:
        loading.child.wait(seconds * MEMORY_AFTER)
    except subprocess.TimeoutExpired:
        return memory_kib(running.pids())
    raise WrongAnswer(f"{loading.name} ended before its time")


def measure_idle(site: Site, scenario: Scenario, running: Running, measured: Round) -> None:
    """What each of many idle keep-alive connections adds to the memory of the proxy's processes."""
    with IdleConnections(scenario, site.proxy_port) as warm_up:
        warm_up.connect(IDLE_WARM_UP)
    time.sleep(IDLE_SETTLE_SECONDS)
    rss_before, pss_before = memory_kib(running.pids())
    with IdleConnections(scenario, site.proxy_port) as idle:
        idle.connect(scenario.connections)
        time.sleep(IDLE_SETTLE_SECONDS)
        rss, pss = memory_kib(running.pids())
        idle.check_alive()
    measured.figures = {
        "kib_per_connection": (pss - pss_before) / scenario.connections,
        "rss_kib_per_connection": (rss - rss_before) / scenario.connections,
        "pss_kib": pss,
        "rss_kib": rss,
    }


def errors_of(loaded: dict, where: str) -> list[str]:
    """The errors that the load generator counted, as words."""
    names = {"status": "answers above 399", "connect": "failed connects", "read": "read errors",
             "write": "write errors", "timeout": "timeouts"}
    problems = [f"{where}{loaded['errors'][kind]} {words}" for kind, words in names.items() if loaded["errors"][kind]]
    return problems if loaded["requests"] else [*problems, f"{where}no request was answered"]


def doubts(loaded: dict, answer_bytes: int, scenario: Scenario, seen_by_origin: int) -> list[str]:
    """Whether every answer had the length of the checked one and came from the origin. Handshakes have no answers."""
    problems = []
    if scenario.kind == "handshakes":
        return problems
    expected = loaded["requests"] * answer_bytes
    # h2load counts nothing but bodies, wrk the heads too, in which a date may differ.
    least = expected if scenario.by_h2load else expected * (1 - BYTES_TOLERANCE)
    under_way = scenario.connections * scenario.streams * answer_bytes
    if not least <= loaded["bytes"] <= expected * (1 + BYTES_TOLERANCE) + under_way:
        problems.append(f"{loaded['bytes']} bytes received where {expected} were due")
    if scenario.hits:
        # It counts the question for the number of its requests, too.
        asked = seen_by_origin - 1
        return problems + [f"the origin saw {asked} requests that the cache should have answered"] * (asked > 0)
    if not scenario.behind.sink and seen_by_origin < loaded["requests"]:
        problems.append(f"{loaded['requests']} answers, but the origin saw {seen_by_origin} requests")
    return problems


def cpu_doubts(before: CpuReading, after: CpuReading) -> list[str]:
    """Whether the CPU time that was read is the whole of it."""
    if before.pids != after.pids:
        return ["a process of the proxy was replaced during the round"]
    missed = after.missed_share(before)
    return [f"{missed:.0%} of the CPU time was spent in threads that ended"] if missed > MISSED_SHARE else []
