"""What the rounds showed, collected: medians per scenario and proxy, and whether they may be quoted."""

import json
from dataclasses import dataclass, field
from statistics import median

from rounds import Round
from scenarios import Scenario


@dataclass
class Row:
    """All rounds of one proxy with `workers` workers in one scenario."""

    proxy: str
    workers: int
    rounds: list[Round] = field(default_factory=list)

    def problems(self) -> list[str]:
        """Every problem of every round, with the round's number."""
        return [f"round {number}: {problem}" for number, measured in enumerate(self.rounds, 1)
                for problem in measured.problems]

    def quotable(self) -> bool:
        """Whether every round was answered rightly from its first to its last request."""
        return bool(self.rounds) and not self.problems()

    def median(self, name: str) -> float | None:
        """The median over the rounds, or None where nothing may be quoted."""
        return median(measured.figures[name] for measured in self.rounds) if self.quotable() else None

    def extremes(self, name: str) -> tuple[float, float]:
        """Lowest and highest round of a quotable row."""
        values = [measured.figures[name] for measured in self.rounds]
        return min(values), max(values)


@dataclass
class Results:
    """Everything that is printed, drawn and saved."""

    scenarios: list[Scenario]
    proxies: list[str]
    machine: dict[str, str]
    versions: dict[str, str]
    options: dict[str, int]
    rows: dict[str, list[Row]] = field(default_factory=dict)

    def add(self, scenario: Scenario, proxy: str, workers: int, measured: Round) -> None:
        """Takes in one more round."""
        row = self.row(scenario, proxy, workers)
        if row is None:
            row = Row(proxy, workers)
            self.rows.setdefault(scenario.name, []).append(row)
        row.rounds.append(measured)

    def row(self, scenario: Scenario, proxy: str, workers: int = 1) -> Row | None:
        """The rounds of one proxy in one scenario, if it took part."""
        return next((row for row in self.rows.get(scenario.name, [])
                     if (row.proxy, row.workers) == (proxy, workers)), None)

    def ratio(self, scenario: Scenario, proxy: str, peer: str) -> float | None:
        """CPU per request of `proxy` for each unit of `peer`; None unless both may be quoted."""
        mine, theirs = self.row(scenario, proxy), self.row(scenario, peer)
        if mine is None or theirs is None or not (mine.quotable() and theirs.quotable()):
            return None
        return mine.median("cpu_us") / theirs.median("cpu_us")

    def between(self, scenario: Scenario, other: Scenario) -> float | None:
        """CPU per request of palantir in one scenario for each unit in another; None unless both may be quoted."""
        one, two = self.row(scenario, "palantir"), self.row(other, "palantir")
        if one is None or two is None or not (one.quotable() and two.quotable()):
            return None
        return one.median("cpu_us") / two.median("cpu_us")

    def growth(self, scenario: Scenario, proxy: str) -> float | None:
        """CPU per request with two workers for each unit with one; None unless both may be quoted."""
        one, two = self.row(scenario, proxy, 1), self.row(scenario, proxy, 2)
        if one is None or two is None or not (one.quotable() and two.quotable()):
            return None
        return two.median("cpu_us") / one.median("cpu_us")

    def all_valid(self) -> bool:
        """Whether every row may be quoted."""
        return all(row.quotable() for rows in self.rows.values() for row in rows)

    def as_json(self) -> str:
        """Every round in full, for whoever wants to compute something else."""
        scenarios = {
            name: [{"proxy": row.proxy, "workers": row.workers, "valid": row.quotable(), "problems": row.problems(),
                    "rounds": [measured.figures for measured in row.rounds]} for row in rows]
            for name, rows in self.rows.items()
        }
        whole = {"machine": self.machine, "versions": self.versions, "options": self.options, "scenarios": scenarios}
        return json.dumps(whole, indent=2) + "\n"
