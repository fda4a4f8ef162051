"""Verdicts in plain words: what a gate found, and what it would have seen."""

from __future__ import annotations

from fractions import Fraction

from tunix_eval.figures import decimals, fixed, interval_text, p_text
from tunix_eval.records import Verdict


def in_words(verdict: Verdict) -> str:
    """Say what was found, and which runs the means are of: `no drop; would have seen 0.031 (8 times in 10)`.

    What was not compared gives its reason.
    """
    if verdict.delta is None or verdict.outcome == "skipped":
        return verdict.reason
    undecided = verdict.undecided if verdict.outcome == "undecided" else None
    parts = [undecided or _found(verdict), _runs(verdict)]
    if verdict.adjusted_p is not None:
        parts.append(f"p {p_text(verdict.adjusted_p)} after Holm")
    return "; ".join(filter(None, parts))


def how(verdict: Verdict) -> str:
    """Say how a verdict was found: what was counted, by which method, with which power."""
    if verdict.delta is None or verdict.outcome == "skipped":
        return ""
    counted = f"{verdict.n_items} items"
    if verdict.unit == "runs":
        counted += f", {_count(verdict.n_current)} against {verdict.n_runs}"
    parts = [counted, verdict.method]
    if verdict.bootstrap is not None:
        parts.append(f"bootstrap {interval_text(verdict.bootstrap, decimals(*verdict.bootstrap))}")
    if verdict.detectable is not None:
        parts.append(f"80% power at {fixed(verdict.detectable, decimals(verdict.detectable))}")
    return "; ".join(parts)


def second_look(first: Verdict, more: int, seconds: float | None, *, share: float) -> list[str]:
    """Say why more seeds are trained before a gate decides, and how long that takes.

    Args:
        first: what the first look found.
        more: seeds that are trained.
        seconds: what one took; None where that is not known.
        share: of the sessions in which nothing changed, those that do this.
    """
    places = decimals(first.reference, first.current)
    p = "unknown" if first.p_value is None else p_text(first.p_value)
    time = "" if seconds is None else f", about {max(1, round(seconds * more)):,} s"
    often = Fraction(share).limit_denominator(20)
    # What is allowed for is room that a session in which nothing changed has beside its noise.
    about = "fewer than" if first.margin else "about"
    clear = first.p_value is not None and first.alpha is not None and first.p_value <= first.alpha
    return [
        f"{first.run_name}/{first.metric}: {fixed(first.reference, places)} -> {fixed(first.current, places)}, p {p}: "
        f"{'looks worse' if clear else 'too close to call'}",
        f"  training {more} more seed{'s'[: more != 1]} to decide{time}",
        f"  {about} {often.numerator} in {often.denominator} sessions do this though nothing changed",
    ]


def _found(verdict: Verdict) -> str:
    worse, better = ("rise", "fall") if verdict.lower_is_better else ("drop", "gain")
    passed, margin = verdict.outcome == "passed", verdict.margin or 0
    beyond = f" beyond {margin:g}" if margin else ""
    match verdict.rule:
        case "no_worse" if passed:
            seen = " is proven" if (verdict.delta or 0) * (1 if verdict.lower_is_better else -1) > 0 else ""
            return f"no {worse}{beyond}{seen}{_would_have_seen(verdict)}"
        case "no_worse" if verdict.p_value is None:
            return f"no test can be made, so that a {worse} is not excluded"
        case "no_worse":
            return f"a {worse}{beyond} is proven"
        case "non_inferior":
            return f"a {worse} of {margin:g} or more is {'' if passed else 'not '}excluded"
        case "better":
            return f"a {better} is proven" if passed else f"no {better} is proven{_would_have_seen(verdict)}"
        case "max_drop":
            return f"a {worse} up to {margin:.3g} is allowed{_false_alarms(verdict)}"
        case _:
            return f"{verdict.rule.replace('_', ' ')} {verdict.reference:g} was asked for"


def _would_have_seen(verdict: Verdict) -> str:
    if verdict.detectable is None:
        return ""
    return f"; would have seen {fixed(verdict.detectable, decimals(verdict.detectable))} (8 times in 10)"


def _false_alarms(verdict: Verdict) -> str:
    if verdict.false_alarms is None:
        return ""
    times = round(100 * verdict.false_alarms)
    return f"; fails {times} time{'s'[: times != 1]} in 100 though nothing changed"


def _runs(verdict: Verdict) -> str:
    """Say which runs the two means are of, where they are of several: other tables show single runs."""
    if verdict.n_current > 1:
        means = ", ".join(fixed(mean, decimals(*verdict.means)) for mean in verdict.means)
        each = f" ({means})" if means else ""
        of = "" if verdict.unit != "runs" else f", ref of {verdict.n_runs}"
        return f"now is the mean of {verdict.n_current} runs{each}{of}"
    return f"ref is the mean of {verdict.n_runs} runs" if verdict.unit == "runs" and verdict.n_runs > 1 else ""


def _count(number: int) -> str:
    return f"{number} run{'s'[: number != 1]}"
