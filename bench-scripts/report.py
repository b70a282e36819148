"""The results as Markdown: first what palantir is held to, then every figure."""

from results import Results, Row
from rounds import Round
from scenarios import REFUSED_REQUESTS, Scenario

TITLES = {"palantir": "palantir", "nginx": "nginx", "haproxy": "HAProxy", "envoy": "Envoy",
          "varnish": "Varnish"}
#: Share of a proxy's CPU time that it waited for its core; above it others were at work on this machine.
NOISY_SHARE = 0.10


def markdown(results: Results) -> str:
    """The whole report. A row with a problem shows the problem and no figure."""
    by_kind = {kind: [scenario for scenario in results.scenarios if scenario.kind == kind]
               for kind in ("load", "handshakes", "floods", "mixed", "beside", "refused", "collapse", "cores", "idle")}
    parts = [header(results)]
    if by_kind["load"]:
        cached = [scenario for scenario in by_kind["load"] if "varnish" in scenario.proxies]
        plain = [scenario for scenario in by_kind["load"] if scenario not in cached]
        parts += [cost_table(results, plain, "request"), cost_table(results, cached, "request at a cache"),
                  p99_table(results, cached), own_ratios(results), detail_table(results, by_kind["load"])]
    if by_kind["handshakes"]:
        parts.append(cost_table(results, by_kind["handshakes"], "handshake"))
    if by_kind["floods"]:
        parts.append(floods_table(results, by_kind["floods"]))
    if by_kind["mixed"]:
        parts.append(mixed_table(results, by_kind["mixed"]))
    if by_kind["beside"]:
        parts.append(beside_table(results, by_kind["beside"]))
    if by_kind["refused"]:
        parts.append(refused_table(results, by_kind["refused"]))
    if by_kind["collapse"]:
        parts.append(collapse_table(results, by_kind["collapse"]))
    parts += [cores_table(results, scenario) for scenario in by_kind["cores"]]
    parts += [idle_table(results, scenario) for scenario in by_kind["idle"]]
    parts += [problem_list(results), noise_note(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


def header(results: Results) -> str:
    """What was measured, where and how often."""
    options = results.options
    return (f"{software(results)}. {results.machine['cpu']}, Linux {results.machine['kernel']}. "
            f"Median of {options['rounds']} rounds of {options['seconds']} s in turn, each proxy alone on one core.")


def software(results: Results) -> str:
    """Names and versions in one line."""
    return ", ".join(f"{TITLES.get(name, name)} {version}" for name, version in results.versions.items())


def cost_table(results: Results, scenarios: list[Scenario], what: str) -> str:
    """CPU per request or handshake side by side, palantir's ratios, and the targets."""
    proxies = [proxy for proxy in results.proxies if any(proxy in scenario.proxies for scenario in scenarios)]
    if not proxies:
        return ""
    peers = [proxy for proxy in proxies if proxy != "palantir"]
    lines = [f"**CPU µs per {what}**", "",
             "| scenario | " + " | ".join([*(TITLES[proxy] for proxy in proxies),
                                          *(f"palantir / {TITLES[peer]} | target" for peer in peers)]) + " |",
             "|---|" + "--:|" * (len(proxies) + 2 * len(peers))]
    for scenario in scenarios:
        cells = [cost(results.row(scenario, proxy)) for proxy in proxies]
        for peer in peers:
            target = scenario.targets.get(peer)
            cells += [judged(results.ratio(scenario, "palantir", peer), target), at_most(target)]
        lines.append(f"| {scenario.title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def p99_table(results: Results, scenarios: list[Scenario]) -> str:
    """The 99th percentiles side by side, at full load."""
    proxies = [proxy for proxy in results.proxies if any(proxy in scenario.proxies for scenario in scenarios)]
    if not proxies:
        return ""
    lines = ["**99th percentile at a cache, ms**", "",
             f"| scenario | {' | '.join(TITLES[proxy] for proxy in proxies)} |",
             "|---|" + "--:|" * len(proxies)]
    for scenario in scenarios:
        rows = [results.row(scenario, proxy) for proxy in proxies]
        cells = [f"{row.median('p99_us') / 1000:.2f}" if row and row.quotable() else "–" for row in rows]
        lines.append(f"| {scenario.title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def own_ratios(results: Results) -> str:
    """What a request costs palantir in one scenario against another."""
    lines = []
    for scenario in results.scenarios:
        name, target = scenario.target_of or ("", 0.0)
        other = next((known for known in results.scenarios if known.name == name), None)
        ratio = results.between(scenario, other) if other else None
        if ratio is not None:
            lines.append(f"- palantir, {scenario.title} against {other.title}: {judged(ratio, target)} ({at_most(target)})")
    return "\n".join(lines)


def detail_table(results: Results, scenarios: list[Scenario]) -> str:
    """Every figure of every proxy."""
    lines = ["**Every figure**", "",
             "| scenario | proxy | CPU µs/request (lowest–highest round) | requests/s | p50 ms | p99 ms | p99.9 ms "
             "| RSS MiB | PSS MiB |",
             "|---|---|--:|--:|--:|--:|--:|--:|--:|"]
    for scenario in scenarios:
        for row in results.rows.get(scenario.name, []):
            start = f"| {scenario.name} | {TITLES[row.proxy]} | "
            if not row.quotable():
                lines.append(start + "invalid |" + " – |" * 6)
                continue
            low, high = row.extremes("cpu_us")
            lines.append(start + " | ".join([
                f"{number(row.median('cpu_us'))} ({number(low)}–{number(high)})",
                f"{row.median('requests_per_second'):,.0f}",
                *(f"{row.median(name) / 1000:.2f}" for name in ("p50_us", "p99_us", "p999_us")),
                *(f"{row.median(name) / 1024:.1f}" for name in ("rss_kib", "pss_kib")),
            ]) + " |")
    return "\n".join(lines)


def floods_table(results: Results, scenarios: list[Scenario]) -> str:
    """What a polite client waits while another one attacks."""
    lines = ["**A polite client's waits beside an attack**", "",
             "| scenario | proxy | p50 ms | p99 ms | target | attacking connections | of them ended by the proxy | PSS MiB |",
             "|---|---|--:|--:|--:|--:|--:|--:|"]
    for scenario in scenarios:
        for row in results.rows.get(scenario.name, []):
            start = f"| {scenario.title} | {TITLES[row.proxy]} | "
            if not row.quotable():
                lines.append(start + "invalid |" + " – |" * 5)
                continue
            target = scenario.target_p99_ms if row.proxy == "palantir" else None
            lines.append(start + " | ".join([
                f"{row.median('p50_us') / 1000:.2f}", judged(row.median("p99_us") / 1000, target),
                f"≤ {target:.0f} ms" if target else "",
                *(f"{row.median(name):,.0f}" for name in ("flood_connections", "flood_ended")),
                f"{row.median('pss_kib') / 1024:.1f}",
            ]) + " |")
    return "\n".join(lines)


def mixed_table(results: Results, scenarios: list[Scenario]) -> str:
    """What quick requests wait beside slow ones."""
    lines = ["**Quick requests beside slow ones**", "",
             "| scenario | proxy | p50 ms | p99 ms | p99 / nginx's | target | quick requests/s | slow requests in all |",
             "|---|---|--:|--:|--:|--:|--:|--:|"]
    for scenario in scenarios:
        nginx = results.row(scenario, "nginx")
        base = nginx.median("p99_us") if nginx else None
        for row in results.rows.get(scenario.name, []):
            start = f"| {scenario.title} | {TITLES[row.proxy]} | "
            if not row.quotable():
                lines.append(start + "invalid |" + " – |" * 5)
                continue
            target = scenario.target_p99 if row.proxy == "palantir" else None
            lines.append(start + " | ".join([
                *(f"{row.median(name) / 1000:.2f}" for name in ("p50_us", "p99_us")),
                judged(row.median("p99_us") / base if base else None, target), at_most(target),
                f"{row.median('requests_per_second'):,.0f}", f"{row.median('company_requests'):,.0f}",
            ]) + " |")
    return "\n".join(lines)


def beside_table(results: Results, scenarios: list[Scenario]) -> str:
    """What few requests a second wait beside a company that takes all it can get, and what that gets."""
    lines = ["**Few requests beside much else** (lowest–highest round)", "",
             "| beside | proxy | p50 ms | target | p99 ms | target | company: requests/s | of HAProxy's | target "
             "| GB/s | CPU |", "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"]
    for scenario in scenarios:
        for row in results.rows.get(scenario.name, []):
            start = f"| {scenario.title} | {TITLES[row.proxy]} | "
            lines.append(start + (" | ".join(beside_cells(results, scenario, row)) + " |" if row.quotable()
                                  else "invalid |" + " – |" * 8))
    return "\n".join(lines)


def beside_cells(results: Results, scenario: Scenario, row: Row) -> list[str]:
    """The figures of one proxy beside a company."""
    is_ours = row.proxy == "palantir"
    p50_target = scenario.target_p50_ms if is_ours else None
    p99_target = p99_target_ms(results, scenario, row) if is_ours else None
    peer = results.row(scenario, "haproxy")
    share = (row.median("company_per_second") / peer.median("company_per_second")
             if is_ours and scenario.company and peer and peer.quotable() else None)
    least = scenario.target_company if is_ours else None
    mark = " ✗" if share is not None and least is not None and share < least else ""
    return [spread(row, "p50_us", p50_target), milliseconds(p50_target),
            spread(row, "p99_us", p99_target), milliseconds(p99_target),
            f"{row.median('company_per_second'):,.0f}" if scenario.company else "",
            f"{share:.2f}{mark}" if share is not None else "", f"≥ {least:.2f}" if least else "",
            f"{row.median('company_gb_per_second'):.2f}" if scenario.company else "", f"{row.median('cpu_share'):.0%}"]


def p99_target_ms(results: Results, scenario: Scenario, row: Row) -> float | None:
    """The most that the 99th percentile may be, in milliseconds."""
    if scenario.target_p99_of is None:
        return scenario.target_p99_ms
    name, factor = scenario.target_p99_of
    others = [other for other in results.rows.get(name, []) if other.proxy == row.proxy and other.quotable()]
    return factor * others[0].median("p99_us") / 1000 if others else None


def spread(row: Row, name: str, target_ms: float | None) -> str:
    """A time in milliseconds with its lowest and highest round, and a mark when it misses its target."""
    low, high = row.extremes(name)
    return f"{judged(row.median(name) / 1000, target_ms)} ({low / 1000:.2f}–{high / 1000:.2f})"


def milliseconds(target: float | None) -> str:
    """A target as a bound in milliseconds."""
    return "" if target is None else f"≤ {target:.3g}"


def refused_table(results: Results, scenarios: list[Scenario]) -> str:
    """How many requests fail while a backend refuses connections: the worst round."""
    lines = [f"**Failures of {REFUSED_REQUESTS} requests from the start on**", "",
             "| scenario | proxy | algorithm | GET | POST | target |", "|---|---|---|--:|--:|--:|"]
    for scenario in scenarios:
        for row in results.rows.get(scenario.name, []):
            target = 0 if row.proxy == "palantir" else None
            for algorithm in dict.fromkeys(name.split()[1] for name in row.rounds[0].figures):
                cells = [(row.extremes(f"failed {algorithm} {method}")[1], row.extremes(f"made {algorithm} {method}")[0])
                         for method in ("GET", "POST")]
                lines.append(f"| {scenario.title} | {TITLES[row.proxy]} | {algorithm} | " + " | ".join([
                    *(f"{failed}" + f" of {made}" * (made < REFUSED_REQUESTS)
                      + " ✗" * (target is not None and failed > target) for failed, made in cells),
                    "" if target is None else f"{target}"]) + " |")
    return "\n".join(lines)


def collapse_table(results: Results, scenarios: list[Scenario]) -> str:
    """What many requests for one URL cost the backend, and what they wait behind the first one's first byte, and behind
    the last byte of the backend."""
    names = [f"{name}_{share}_us" for name in ("first", "last") for share in (50, 99, 100)]
    lines = ["**Requests at once for one new URL, two workers**", "",
             "| scenario | proxy | backend requests, worst URL | target | failed "
             "| first byte behind the first client's: p50 ms | p99 ms | worst ms "
             "| last byte behind the backend's: p50 ms | p99 ms | worst ms |",
             "|---|---|" + "--:|" * 9]
    for scenario in scenarios:
        for row in results.rows.get(scenario.name, []):
            start = f"| {scenario.title} | {TITLES[row.proxy]} | "
            if not row.quotable():
                lines.append(start + "invalid |" + " – |" * 8)
                continue
            target = 1 if row.proxy == "palantir" else None
            worst = row.extremes("backend_requests")[1]
            failed = row.extremes("failed")[1]
            lines.append(start + " | ".join([
                f"{worst}" + " ✗" * bool(target and worst > target), f"{target or ''}",
                f"{failed}" + " ✗" * bool(target and failed),
                *(f"{row.median(name) / 1000:.1f}" for name in names)]) + " |")
    return "\n".join(lines)


def cores_table(results: Results, scenario: Scenario) -> str:
    """What a second worker adds to the cost of a request."""
    lines = [f"**CPU µs per request, {scenario.title}**", "",
             "| proxy | 1 worker | 2 workers | 2 / 1 | target | requests/s, 1 worker | 2 workers |",
             "|---|--:|--:|--:|--:|--:|--:|"]
    for proxy in results.proxies:
        pair = [results.row(scenario, proxy, workers) for workers in (1, 2)]
        target = scenario.target_growth if proxy == "palantir" else None
        rates = [f"{row.median('requests_per_second'):,.0f}" if row and row.quotable() else "–" for row in pair]
        lines.append(f"| {TITLES[proxy]} | " + " | ".join([
            *(cost(row) for row in pair), judged(results.growth(scenario, proxy), target), at_most(target), *rates,
        ]) + " |")
    return "\n".join(lines)


def idle_table(results: Results, scenario: Scenario) -> str:
    """What an idle connection costs in memory."""
    lines = [f"**Memory of {scenario.connections:,} {scenario.title}**", "",
             "| proxy | KiB per connection (PSS) | target | KiB per connection (RSS) | whole PSS MiB |",
             "|---|--:|--:|--:|--:|"]
    for row in results.rows.get(scenario.name, []):
        target = scenario.target_kib if row.proxy == "palantir" else None
        limit = f"≤ {target:.0f} KiB" if target else ""
        if not row.quotable():
            lines.append(f"| {TITLES[row.proxy]} | invalid | {limit} | – | – |")
            continue
        lines.append(f"| {TITLES[row.proxy]} | {judged(row.median('kib_per_connection'), target)} | {limit} | "
                     f"{row.median('rss_kib_per_connection'):.2f} | {row.median('pss_kib') / 1024:.1f} |")
    return "\n".join(lines)


def problem_list(results: Results) -> str:
    """Everything that was answered wrongly."""
    lines = [f"- {name}, {TITLES[row.proxy]}, {row.workers} worker(s), {problem}"
             for name, rows in results.rows.items() for row in rows for problem in row.problems()]
    return "\n".join(["**Invalid, not to be quoted**", "", *lines]) if lines else ""


def noise_note(results: Results) -> str:
    """Tells when something else ran on the proxy's core. In the `cores` scenario that is part of the set-up, and
    the threads of Varnish, one for each busy connection, wait for one another."""
    loads = [scenario for scenario in results.scenarios if scenario.kind in ("load", "handshakes")]
    rows = [row for scenario in loads for row in results.rows.get(scenario.name, [])]
    worst = max((row.median("waited_share") for row in rows if row.quotable() and row.proxy != "varnish"), default=0.0)
    if worst <= NOISY_SHARE:
        return ""
    return (f"Noisy machine: a proxy waited for its core {worst:.0%} as long as it ran. "
            "Requests per second and latencies suffer from that, and CPU time through the caches.")


def cost(row: Row | None) -> str:
    """CPU per request of a row."""
    if row is None:
        return "–"
    return number(row.median("cpu_us")) if row.quotable() else "invalid"


def number(value: float) -> str:
    """Three or four digits that mean something."""
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def judged(value: float | None, target: float | None) -> str:
    """A figure, and a mark when it misses its target."""
    if value is None:
        return "–"
    return f"{value:.2f}" + (" ✗" if target is not None and value > target else "")


def at_most(target: float | None) -> str:
    """A target as a bound."""
    return "" if target is None else f"≤ {target:.2f}"


def one_line(measured: Round) -> str:
    """One round, for whoever watches."""
    figures = measured.figures
    if measured.problems:
        return "INVALID: " + "; ".join(measured.problems)
    if "kib_per_connection" in figures:
        return f"{figures['kib_per_connection']:.2f} KiB per connection"
    if "cpu_us" not in figures:
        return ", ".join(f"{name}: {value}" for name, value in figures.items())
    if "company_requests" in figures and figures["requests_per_second"] < 250 and not figures["flood_connections"]:
        return (f"p50 {figures['p50_us'] / 1000:.2f}, p99 {figures['p99_us'] / 1000:.2f} ms, beside it "
                f"{figures['company_per_second']:,.0f} requests/s, {figures['company_gb_per_second']:.2f} GB/s, "
                f"CPU {figures['cpu_share']:.0%}, waited {figures['waited_share']:.0%} of it")
    if figures.get("flood_connections"):
        return (f"p99 {figures['p99_us'] / 1000:.2f} ms, {figures['flood_ended']:.0f} of "
                f"{figures['flood_connections']:.0f} attacking connections ended")
    return (f"{number(figures['cpu_us'])} µs per request, {figures['requests_per_second']:,.0f} requests/s, "
            f"waited {figures['waited_share']:.0%} of its CPU time")
