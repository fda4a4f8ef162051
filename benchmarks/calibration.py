"""Error rates of every rule by simulation, in the situation that it is meant for: `decide` itself, on made-up scores.

Every simulated session has items of its own, each evaluation sampling noise of its own. A 0/1 item is right at a rate
drawn from a Beta distribution of mean 0.7 (near an end of the scale 0.97 or 0.03), narrow or wide so that 42, 28 or
7% of the items flip between two evaluations; a graded item has a normal quality of sd 0.15 and noise of sd 0.1. In
clusters of 5 the items share a part of the noise. A run effect, normal with sd 0.02, moves all items of one run
together; retrained runs have one, equal weights have none. It is smaller near an end of the scale, as the items' own
spread is, and 2.5 times as large or small in current runs of a recipe that is noisier or quieter. Seeds are fixed,
and do not depend on how many processes there are. A cell has the error rates at n = 25, 100 and 500: false alarms, of
better and non_inferior false passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special  # type: ignore[import-untyped]

from tunix_eval.gate import decide
from tunix_eval.records import RunScores, Verdict
from tunix_eval.specs import GateSpec

Values = npt.NDArray[np.float64]

SIZES = (25, 100, 500)
ALPHA = 0.05
MEAN = 0.7
CLUSTER = 5
RUN_EFFECT = 0.02
MARGIN = 0.05
CHUNK = 250
"""Sessions that one task simulates."""
NOISIER = 0.12
"""How often no_worse may alarm where the current recipe has the same mean, and noise 2.5 times as large: that it takes
both for equally noisy is what finds drops with few runs."""
BASELINE_RUNS = (1, 2, 3, 5, 10)
PRINTED_GAP = 0.1
"""How far max_drop's printed rate, which knows a spread that it has estimated, may lie from the rate observed."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What scores look like."""

    name: str
    flips: float | None = None
    """Share of 0/1 items that differ between two evaluations; None for graded scores."""
    shared: float = 0.0
    """The part of the noise's variance that a cluster of 5 items shares."""
    retrained: bool = True
    """Whether it is simulated for retrained runs too."""
    mean: float = MEAN
    ratio: float = 1.0
    """Run effect of the current runs, in those of the baseline."""
    most: float = ALPHA
    """How often an alarm may be false."""

    @property
    def run_effect(self) -> float:
        """Its standard deviation in baseline runs."""
        return RUN_EFFECT * math.sqrt(self.mean * (1 - self.mean) / (MEAN * (1 - MEAN)))

    @property
    def bootstraps(self) -> bool:
        """Whether a comparison of items draws a bootstrap interval, which takes its time."""
        return self.flips is None and not self.shared


KINDS = (
    Kind("0/1, 42% flip", flips=0.42, retrained=False),
    Kind("0/1, 28% flip", flips=0.28),
    Kind("0/1, 7% flip", flips=0.07, retrained=False),
    Kind("0/1, clusters of 5", flips=0.28, shared=0.5),
    Kind("graded"),
    Kind("graded, clusters of 5", shared=0.75),
)


RETRAINED_KINDS = (
    Kind("0/1, 28% flip", flips=0.28),
    Kind("0/1, clusters of 5", flips=0.28, shared=0.5),
    Kind("graded"),
    Kind("0/1, mean 0.97", flips=0.05, mean=0.97),
    Kind("0/1, mean 0.03", flips=0.05, mean=0.03),
    Kind("0/1, quieter now", flips=0.28, ratio=0.4),
    Kind("0/1, noisier now", flips=0.28, ratio=2.5, most=NOISIER),
    Kind("graded, noisier now", ratio=2.5, most=NOISIER),
)


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule in the situation where it is to err at most so often."""

    name: str
    gate: GateSpec
    wrong: str = "failed"
    """The outcome that is an error there."""
    drop: float = 0.0
    """The true drop of the current side."""
    sides: tuple[int, int] = (1, 1)
    """Current and baseline runs."""
    same_weights: bool = False
    required: bool = True


def gate(rule: str, **arguments: Any) -> GateSpec:
    """Return a gate over `exact`."""
    return GateSpec.model_validate({"rule": rule, "metric": "exact", "alpha": ALPHA} | arguments)


NO_WORSE, NON_INFERIOR = gate("no_worse"), gate("non_inferior", margin=MARGIN)
LIMIT = GateSpec(rule="max_drop", metric="exact", drop="5%")
BETTER = gate("better", than="other.toml")


MARGIN_COLUMNS = f"no_worse, margin = drop = {MARGIN}", f"non_inferior, margin = drop = {MARGIN}"
SAME_WEIGHTS_COLUMNS = (
    "equal weights",
    "sessions",
    "no_worse",
    "no_worse, exact",
    *MARGIN_COLUMNS,
    "better",
    "max_drop 5% (printed)",
    "at most",
    "verdict",
)
RETRAINED_COLUMNS = (
    "retrained",
    "sessions",
    *MARGIN_COLUMNS,
    "better, 3 runs each",
    "max_drop 5% (printed)",
    "for contrast: item test",
    "at most",
    "verdict",
)


def same_weights_rules(kind: Kind) -> list[Rule]:
    """Return the rules between two evaluations of equal weights, in the order of the columns."""
    every = [
        Rule("no_worse", NO_WORSE, same_weights=True),
        Rule("no_worse, exact", gate("no_worse", test="exact"), same_weights=True),
        Rule(MARGIN_COLUMNS[0], gate("no_worse", margin=MARGIN), drop=MARGIN, same_weights=True),
        Rule(MARGIN_COLUMNS[1], NON_INFERIOR, wrong="passed", drop=MARGIN, same_weights=True),
        Rule("better", BETTER, wrong="passed", same_weights=True),
        Rule("max_drop 5% (printed)", LIMIT, same_weights=True),
    ]
    mcnemar = kind.flips is not None and not kind.shared
    return [rule for rule in every if mcnemar or rule.gate.test != "exact"]


RETRAINED_RULES = [
    Rule(MARGIN_COLUMNS[0], gate("no_worse", margin=MARGIN), drop=MARGIN, sides=(3, 5)),
    Rule(MARGIN_COLUMNS[1], NON_INFERIOR, wrong="passed", drop=MARGIN, sides=(3, 5)),
    Rule("better, 3 runs each", BETTER, wrong="passed", sides=(3, 3)),
    Rule("max_drop 5% (printed)", LIMIT, sides=(1, 5)),
    Rule("for contrast: item test", NO_WORSE, same_weights=True, required=False),
]


FEW_COLUMNS = ("no_worse, 1 then 3 runs", "sessions", *(f"against {k}" for k in BASELINE_RUNS), "at most", "verdict")
PROOF_SIDES = ((3, 2), (3, 3), (3, 5), (3, 10))
PROOF_COLUMNS = (
    "non_inferior, margin = drop",
    "sessions",
    *(f"{j} against {k}" for j, k in PROOF_SIDES),
    "at most",
    "verdict",
)


def few_runs(draws: int) -> Iterator[tuple[str, ...]]:
    """Give a row for every kind of retrained scores: false alarms of no_worse against 1 to 10 baseline runs."""
    rules = [Rule(f"against {k}", NO_WORSE, sides=(3, k)) for k in BASELINE_RUNS]
    return rows(draws, dict.fromkeys(RETRAINED_KINDS, rules), FEW_COLUMNS[2:-2])


def proofs(draws: int) -> Iterator[tuple[str, ...]]:
    """Give a row for every kind of retrained scores: false passes of non_inferior over its three runs."""
    rules = [Rule(f"{j} against {k}", NON_INFERIOR, wrong="passed", drop=MARGIN, sides=(j, k)) for j, k in PROOF_SIDES]
    # From a mean of 0.03 nothing can fall by the margin. A proof keeps its level where the current runs are noisier.
    kinds = [replace(kind, most=ALPHA) for kind in RETRAINED_KINDS if kind.mean > MARGIN]
    return rows(draws, dict.fromkeys(kinds, rules), PROOF_COLUMNS[2:-2])


def evaluations(rng: np.random.Generator, kind: Kind, n: int, shifts: Values) -> Values:
    """Evaluate the same n items several times, each time with the mean moved by a shift; float[len(shifts), n]."""
    count, moved = len(shifts), shifts[:, None]
    noise = rng.standard_normal((count, n))
    if kind.shared:
        common = np.repeat(rng.standard_normal((count, n // CLUSTER)), CLUSTER, axis=1)
        noise = math.sqrt(kind.shared) * common + math.sqrt(1 - kind.shared) * noise
    if kind.flips is None:
        return rng.normal(MEAN, 0.15, n) + 0.1 * noise + moved
    mean = kind.mean
    rates = np.full(n, mean)
    # Two draws at rate p differ with probability 2 p (1 - p), whose mean over Beta(a, b) is this share of its most.
    share = kind.flips / (2 * mean * (1 - mean))
    if share < 1 - 1e-9:
        size = share / (1 - share)
        rates = rng.beta(mean * size, (1 - mean) * size, n)
    rates = np.where(moved < 0, rates * (1 + moved / mean), rates + (1 - rates) * moved / (1 - mean))
    return np.where(special.ndtr(noise) < rates, 1.0, 0.0)


def simulate(kind: Kind, rules: list[Rule], n: int, seed: tuple[int, ...], sessions: int) -> Values:
    """Simulate sessions of every rule; return float[rules, 2]: errors, and the sum of what max_drop printed."""
    rng, found = np.random.default_rng(seed), np.zeros((len(rules), 2))
    effect = kind.run_effect if any(not rule.same_weights for rule in rules) else 0.0
    clusters = {item: f"c{i // CLUSTER}" for i, item in enumerate(items(n))} if kind.shared else {}
    for _ in range(sessions):
        for place, rule in enumerate(rules):
            verdict = session(rng, kind, rule, n, clusters, effect)
            found[place] += verdict.outcome == rule.wrong, verdict.false_alarms or 0.0
    return found


def session(
    rng: np.random.Generator, kind: Kind, rule: Rule, n: int, clusters: dict[str, str], effect: float
) -> Verdict:
    """Make up the runs of one session, and decide."""
    j, k = rule.sides
    current = np.arange(j + k) < j
    shifts = effect * rng.standard_normal(j + k) * np.where(current, kind.ratio, 1.0) - rule.drop * current
    runs = [
        RunScores(
            run_id=f"r{r}",
            seed=r,
            weights_sha256="w" if rule.same_weights else f"w{r}",
            values=dict(zip(items(n), values, strict=True)),
        )
        for r, values in enumerate(evaluations(rng, kind, n, shifts).tolist())
    ]
    looks = 1 if rule.gate.rule == "no_worse" else j
    return decide(
        rule.gate,
        run_name="simulated",
        evalset="simulated",
        current=runs[:looks],
        reference=runs[j:],
        lower_is_better=False,
        clusters=clusters,
        bounds=None if kind.flips is None else (0.0, 1.0),
        fresh=lambda more: runs[looks : looks + more],
    )


@cache
def items(n: int) -> list[str]:
    """Name n items."""
    return [f"i{i:03d}" for i in range(n)]


def same_weights(draws: int) -> Iterator[tuple[str, ...]]:
    """Give a row for every kind of scores, evaluated twice with equal weights."""
    return rows(draws, {kind: same_weights_rules(kind) for kind in KINDS}, SAME_WEIGHTS_COLUMNS[2:-2])


def retrained(draws: int) -> Iterator[tuple[str, ...]]:
    """Give a row for every kind of scores, of retrained runs."""
    return rows(draws, {kind: RETRAINED_RULES for kind in KINDS if kind.retrained}, RETRAINED_COLUMNS[2:-2])


def rows(draws: int, kinds: dict[Kind, list[Rule]], names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Simulate, and give a row a kind, with a cell for each of the named rules."""
    with ProcessPoolExecutor() as pool:
        counts = {kind: draws // 4 if kind.bootstraps else draws for kind in kinds}
        sums = {kind: [submit(pool, kind, rules, n, counts[kind]) for n in SIZES] for kind, rules in kinds.items()}
        for kind, rules in kinds.items():
            shares = np.array([total() for total in sums[kind]]) / counts[kind]
            most = kind.most + 3 * math.sqrt(kind.most * (1 - kind.most) / counts[kind])
            cells, bad = dict.fromkeys(names, ""), []
            for place, rule in enumerate(rules):
                rates, printed = shares[:, place].T.tolist()
                limit = rule.gate.rule == "max_drop"
                cells[rule.name] = "/".join(map(short, rates)) + (
                    f" ({'/'.join(map(short, printed))})" if limit else ""
                )
                errors = [abs(r - p) - PRINTED_GAP if limit else r - most for r, p in zip(rates, printed, strict=True)]
                if rule.required and max(errors) > 0:
                    bad.append(rule.name)
            verdict = f"not within: {', '.join(bad)}" if bad else "within"
            yield kind.name, f"{counts[kind]:,}", *cells.values(), short(most), verdict


def short(rate: float) -> str:
    """Write a rate without its leading zero, as tables of error rates do."""
    return f"{rate:.3f}".removeprefix("0")


def submit(pool: ProcessPoolExecutor, kind: Kind, rules: list[Rule], n: int, sessions: int) -> Callable[[], Values]:
    """Submit the sessions in chunks; the result adds up what they find."""
    effect = any(not rule.same_weights for rule in rules)
    every = [*KINDS, *(replace(one, most=kind.most) for one in RETRAINED_KINDS)]
    seeds = [(every.index(kind), int(effect), n, start) for start in range(0, sessions, CHUNK)]
    futures = [pool.submit(simulate, kind, rules, n, seed, min(CHUNK, sessions - seed[-1])) for seed in seeds]
    return lambda: sum((future.result() for future in futures), np.zeros((len(rules), 2)))
