"""The results as one SVG that reads well on light and dark pages."""

from html import escape

from report import TITLES, software
from results import Results
from scenarios import Scenario

WIDTH = 860
LABEL_WIDTH = 210
BAR_WIDTH = 430
BAR_HEIGHT = 15
BAR_STEP = 18
GROUP_GAP = 14
TOP = 84

STYLE = """
  text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328; }
  .title { font-size: 17px; font-weight: 600; }
  .quiet { fill: #59636e; font-size: 12px; }
  .axis { stroke: #c4ccd4; stroke-width: 1; }
  .target { stroke: #cf222e; stroke-width: 2; }
  .palantir { fill: #0f8a7e; }
  .nginx { fill: #7d8ea3; }
  .haproxy { fill: #b9c4d0; }
  .envoy { fill: #d8c7a3; }
  .varnish { fill: #c49a9a; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .quiet { fill: #9198a1; }
    .axis { stroke: #3d444d; }
    .target { stroke: #ff7b72; }
    .palantir { fill: #2ec4b6; }
    .nginx { fill: #7d8ea3; }
    .haproxy { fill: #4a5768; }
    .envoy { fill: #6b5d3f; }
    .varnish { fill: #7a4f4f; }
  }
"""


class Group:
    """The bars of one scenario: (proxy, length of the bar in units of the group's scale, label), and the target."""

    def __init__(self, title: str, bars: list[tuple[str, float, str]], target: float | None):
        self.title = title
        self.bars = bars
        self.target = target


def chart(results: Results) -> str:
    """Bars of CPU per request with nginx as the unit, then memory per idle connection on a scale of its own."""
    panels = []
    cost = [cost_group(results, scenario) for scenario in results.scenarios if scenario.kind in ("load", "handshakes")]
    growth = [growth_group(results, scenario) for scenario in results.scenarios if scenario.kind == "cores"]
    idle = [idle_group(results, scenario) for scenario in results.scenarios if scenario.kind == "idle"]
    if cost:
        panels.append(("CPU per request or handshake, nginx = 1", cost))
    if growth:
        panels.append(("CPU per request with two workers, one worker = 1", growth))
    if idle:
        panels.append(("Memory per idle keep-alive connection, KiB", idle))
    drawn, height = [], TOP
    for title, groups in panels:
        lines, height = panel(title, groups, height)
        drawn += lines
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-12 -6 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'role="img" aria-label="What a request costs, per proxy and scenario">',
        f"<style>{STYLE}</style>", *legend(results), *drawn, "</svg>", ""])


def legend(results: Results) -> list[str]:
    """The title and what the colours mean."""
    lines = [text(0, 20, "Shorter is better", "title"), text(0, 40, software(results), "quiet")]
    left = 0
    for proxy in results.proxies:
        lines += [f'<rect class="{proxy}" x="{left}" y="54" width="12" height="12" rx="2"/>',
                  text(left + 18, 65, TITLES[proxy])]
        left += 100
    return [*lines, f'<line class="target" x1="{left + 6}" x2="{left + 6}" y1="53" y2="67"/>',
            text(left + 18, 65, "target for palantir")]


def panel(title: str, groups: list[Group], top: int) -> tuple[list[str], int]:
    """A titled block of groups on one scale: (its lines, where the next one begins)."""
    longest = max([length for group in groups for _, length, _ in group.bars]
                  + [group.target or 0.0 for group in groups] + [0.01])
    scale = BAR_WIDTH / longest
    lines = [text(0, top + 14, title, "title")]
    top += 30
    for group in groups:
        bottom = top + BAR_STEP * max(len(group.bars), 1)
        lines.append(text(0, (top + bottom) // 2 + 2, group.title))
        lines.append(f'<line class="axis" x1="{LABEL_WIDTH}" x2="{LABEL_WIDTH}" y1="{top - 2}" y2="{bottom}"/>')
        for place, (proxy, length, label) in enumerate(group.bars):
            target = group.target * scale if proxy == "palantir" and group.target is not None else 0.0
            lines += bar(proxy, length * scale, target, label, top + place * BAR_STEP)
        top = bottom + GROUP_GAP
    return lines, top + GROUP_GAP


def bar(proxy: str, width: float, target: float, label: str, top: int) -> list[str]:
    """One bar, the mark of its target (0: none), and its figure behind both."""
    lines = [f'<rect class="{proxy}" x="{LABEL_WIDTH}" y="{top}" width="{max(width, 1):.1f}" height="{BAR_HEIGHT}" '
             'rx="2"/>']
    if target:
        mark = LABEL_WIDTH + target
        lines.append(f'<line class="target" x1="{mark:.1f}" x2="{mark:.1f}" y1="{top - 2}" y2="{top + BAR_HEIGHT + 2}"/>')
    return [*lines, text(LABEL_WIDTH + max(width, target, 1) + 8, top + 12, label, "quiet")]


def cost_group(results: Results, scenario: Scenario) -> Group:
    """CPU per request; without a quotable nginx the first quotable proxy is the unit, and there is no target."""
    quotable = [row for row in results.rows.get(scenario.name, []) if row.quotable()]
    nginx = next((row for row in quotable if row.proxy == "nginx"), None)
    unit = (nginx or quotable[0]).median("cpu_us") if quotable else 1.0
    bars = []
    for row in results.rows.get(scenario.name, []):
        cost = row.median("cpu_us")
        bars.append((row.proxy, 0.0, "invalid") if cost is None else
                    (row.proxy, cost / unit, f"{cost:.1f} µs, {cost / unit:.2f}"))
    return Group(scenario.title, bars, scenario.targets.get("nginx") if nginx else None)


def growth_group(results: Results, scenario: Scenario) -> Group:
    """How the cost of a request changes when a second worker joins."""
    growths = [(proxy, results.growth(scenario, proxy)) for proxy in results.proxies]
    bars = [(proxy, growth or 0.0, "invalid" if growth is None else f"{growth:.2f}") for proxy, growth in growths]
    return Group("small GET", bars, scenario.target_growth)


def idle_group(results: Results, scenario: Scenario) -> Group:
    """KiB per idle connection."""
    sizes = [(row.proxy, row.median("kib_per_connection")) for row in results.rows.get(scenario.name, [])]
    bars = [(proxy, max(size or 0.0, 0.0), "invalid" if size is None else f"{size:.2f} KiB") for proxy, size in sizes]
    kind = " with TLS" if scenario.tls else ""
    return Group(f"{scenario.connections:,} connections{kind}", bars, scenario.target_kib)


def text(left: float, baseline: float, words: str, style: str = "") -> str:
    """A line of text."""
    chosen = f' class="{style}"' if style else ""
    return f'<text{chosen} x="{left:.1f}" y="{baseline:.1f}">{escape(words)}</text>'
