"""`tunix-eval ingest`: trace files of other people's files, and of what a run wrote."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import msgspec

from tunix_eval.cli.contents import check_lines, first_keys
from tunix_eval.cli.inputs import Given, assignments, given_file, joined
from tunix_eval.cli.outputs import (
    add_out_argument,
    aside,
    check_evalset_path,
    check_free,
    evalset_written,
    out_path,
    printed,
    would_write,
)
from tunix_eval.cli.recorded import Evaluation, open_runs
from tunix_eval.cli.terminal import Progress, counted, cut, listed, shortened
from tunix_eval.cli.validate import moved_keys
from tunix_eval.data import (
    SPLIT_RULES,
    LenientRead,
    Rejected,
    checked_traces,
    map_items,
    map_records,
    read_traces,
    read_traces_leniently,
    rejected_text,
    traces_of_run,
    write_traces,
)
from tunix_eval.errors import DataError, SpecError, unknown_name
from tunix_eval.figures import printable
from tunix_eval.records import AnswerRule, Trace

_ONLY = ("all", "correct")
_KINDS = ("traces", "evalset")
_LISTED = 5


class Read(NamedTuple):
    """What became of one file or run."""

    name: str
    traces: Sequence[Trace]
    rejected: Sequence[Rejected]
    """Lines of a file that are no traces."""
    left_out: Sequence[str] = ()
    """Completions of a run that make no trace, and why."""
    notes: Sequence[str] = ()
    """What became of keys that no field takes, and such, a line each."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument("files", metavar="FILE", nargs="*", help=".jsonl, .jsonl.gz or .parquet, or - for stdin")
    parser.add_argument(
        "--map",
        metavar="FIELD=KEY",
        action="append",
        help="the key that holds a field of a trace or item: prompt=question, final_answer=answer, steps=rationale, "
        "prompt=data.q; conversation=messages takes a list of turns apart. May be repeated. But for the id, nothing is "
        "taken from a key that is not named: such keys are kept in meta, and listed",
    )
    parser.add_argument(
        "--kind", metavar="KIND", default="traces", help="what is made of the lines: traces (default) or evalset"
    )
    parser.add_argument(
        "--split",
        metavar="RULE",
        help="where the answer stands in the text that final_answer, of an item expected_answer, is mapped to: "
        f"{', '.join(SPLIT_RULES)}",
    )
    parser.add_argument("--source", metavar="NAME", help="where they come from, kept in every trace's meta")
    parser.add_argument("--lenient", action="store_true", help="write the good lines, and the others to --rejected")
    parser.add_argument("--rejected", metavar="PATH", help="by default rejected.jsonl beside --out")
    parser.add_argument("--from-run", metavar="RUN", help="in place of files: the completions of a recorded run")
    parser.add_argument("--only", metavar="WHICH", default="correct", help="of a run: correct (default) or all")
    parser.add_argument("--metric", metavar="M", help="of a run: what says which are correct; by default the primary")
    parser.add_argument("--evalset", metavar="NAME", help="of a run: only this evalset")
    parser.add_argument("--artifacts", metavar="DIR", help="the records, else as ./pyproject.toml sets it")
    add_out_argument(parser, "where the traces go: .jsonl, .jsonl.gz or .parquet, or - for stdout")


def run(arguments: argparse.Namespace) -> tuple[Iterable[str] | Iterable[bytes], int]:
    """Write the traces, and return how many there are and what was left out."""
    _check(arguments)
    if arguments.kind == "evalset":
        return _evalset(arguments), 0
    out = out_path(arguments.out, force=arguments.force, dry_run=arguments.dry_run)
    rejected = Path(arguments.rejected or Path(arguments.out).parent / "rejected.jsonl")
    if arguments.lenient:
        check_free(rejected, force=arguments.force, dry_run=arguments.dry_run)
    reads = list(_of_run(arguments) if arguments.from_run else _of_files(arguments))
    traces = joined([Given(one.name, tuple(one.traces), None) for one in reads])
    lines = []
    for one in reads:
        refused = f", {counted(len(one.rejected), 'line')} rejected" if one.rejected else ""
        passed = f", {counted(len(one.left_out), 'completion')} left out" if one.left_out else ""
        lines.append(f"read {printable(one.name)}: {counted(len(one.traces), 'trace')}{refused}{passed}")
        lines += [f"  {note}" for note in one.notes]
        lines += cut([f"  line {flaw.line}: {printable(flaw.reason)}" for flaw in one.rejected], _LISTED)
        lines += cut([f"  {printable(text)}" for text in one.left_out], _LISTED)
    if not traces:
        raise DataError("\n".join([*lines, "nothing is left to write"]))
    checked = checked_traces(traces, "ingest")
    what = counted(len(checked), "trace")
    flaws = [flaw for one in reads for flaw in one.rejected]
    if arguments.dry_run:
        lines.append(f"{would_write(out)}: {what}")
        return [*lines, *([f"{would_write(rejected)}: {counted(len(flaws), 'line')}"] if flaws else ())], 0
    _write(checked, out, flaws, rejected)
    lines += [f"wrote {printable(str(out))}: {what}"] if out else []
    lines += [f"wrote {printable(str(rejected))}: {counted(len(flaws), 'line')}"] if flaws else []
    return lines if out else printed(checked, lines), 0


def _write(traces: Sequence[Trace], out: Path | None, flaws: Sequence[Rejected], rejected: Path) -> None:
    """Write both files aside, then rename them, the traces last: where they stand, all is there."""
    with contextlib.ExitStack() as renames:
        # Renamed in the reverse order.
        if out:
            write_traces(traces, renames.enter_context(aside(out)))
        if flaws:
            text = rejected_text(flaws)
            renames.enter_context(aside(rejected)).write_text(text, encoding="utf-8", newline="\n")


def _check(arguments: argparse.Namespace) -> None:
    if arguments.kind not in _KINDS:
        raise unknown_name("kind to make", arguments.kind, _KINDS)
    if arguments.only not in _ONLY:
        raise unknown_name("choice of completions", arguments.only, _ONLY)
    if arguments.split is not None and arguments.split not in SPLIT_RULES:
        raise unknown_name("split rule", arguments.split, SPLIT_RULES)
    if bool(arguments.files) == bool(arguments.from_run):
        raise SpecError("ingest: name files, or a run with --from-run" + (", not both" if arguments.files else ""))
    if arguments.from_run:
        taken = [name for name in ("map", "split", "source", "lenient", "rejected") if getattr(arguments, name)]
        if taken:
            raise SpecError(f"--{taken[0]} is for files; a run's completions are taken as they are recorded")
    elif taken := [name for name in ("metric", "evalset", "artifacts") if getattr(arguments, name)]:
        raise SpecError(f"--{taken[0]} is for --from-run")
    if arguments.kind == "evalset":
        taken = [name for name in ("source", "lenient", "from_run") if getattr(arguments, name)]
        if taken:
            raise SpecError(f"--{taken[0].replace('_', '-')} is for traces, and --kind asks for an evalset")
        if len(arguments.files) > 1:
            raise SpecError("--kind evalset takes one file at a time")
    if arguments.lenient and len(arguments.files) > 1:
        raise SpecError("--lenient takes one file at a time: rejected lines are known by their number")
    if arguments.rejected and not arguments.lenient:
        raise SpecError("--rejected names where bad lines go; add --lenient, or every line has to be good")


def _of_files(arguments: argparse.Namespace) -> Iterator[Read]:
    pairs = _fields(arguments)
    for reference in arguments.files:
        with given_file(reference) as (path, name), Progress(f"reading {name}") as progress:
            check_lines(path, name, "one JSON object a line", lenient=arguments.lenient)
            found = _of_file(path, name, pairs, arguments, progress)
        mapped = bool(pairs or arguments.split)
        yield Read(name, found.traces, found.rejected, notes=list(_kept(found) if mapped else _moved(found)))


def _moved(found: LenientRead) -> Iterator[str]:
    if found.moved:
        yield moved_keys(found.moved)


def _kept(found: LenientRead) -> Iterator[str]:
    """Say what became of what no field takes."""
    if found.moved:
        yield f"kept in meta, as no --map names them: {_keys(found.moved)}"
    if found.blank_lines:
        yield f"{counted(found.blank_lines, 'blank line')} between steps left out"
    if found.behind_answers:
        yield _behind(found.behind_answers)


def _behind(count: int) -> str:
    return f"left out: the text behind </answer> in {counted(count, 'line')}"


def _keys(counts: Mapping[str, int]) -> str:
    return listed([f"{shortened(key, 40)} ({counted(count, 'line')})" for key, count in counts.items()], 20)


def _evalset(arguments: argparse.Namespace) -> Iterable[str] | Iterable[bytes]:
    """Write an evalset of a file with keys of its own, and return what was made."""
    out = out_path(arguments.out, force=arguments.force, dry_run=arguments.dry_run)
    check_evalset_path(out)
    (reference,) = arguments.files
    with given_file(reference) as (path, name), Progress(f"reading {name}") as progress:
        check_lines(path, name, "one JSON object a line")
        found = map_items(path, fields=_fields(arguments), split=arguments.split, name=name, on_progress=progress)
    what = counted(len(found.evalset.items), "item")
    lines = [f"read {printable(name)}: {what}"]
    if found.left_out:
        lines.append(f"  left out, as no --map names them and an item has no meta: {_keys(found.left_out)}")
    if found.reasoning:
        lines.append(f"  left out: the reasoning before the answer of {counted(found.reasoning, 'item')}")
    if found.behind_answers:
        lines.append(f"  {_behind(found.behind_answers)}")
    if found.made_ids:
        lines.append(f"  ids made from the content of {counted(found.made_ids, 'item')}: no line has one under 'id'")
    return evalset_written(found.evalset, out, what, lines, dry_run=arguments.dry_run)


def _fields(arguments: argparse.Namespace) -> dict[str, str]:
    pairs = assignments(arguments.map, "--map")
    if len(dict(pairs)) < len(pairs):
        raise SpecError("--map names a field twice; a field comes from one key")
    return dict(pairs)


def _of_file(
    path: Path, name: str, fields: dict[str, str], arguments: argparse.Namespace, progress: Progress
) -> LenientRead:
    if fields or arguments.split:
        return map_records(
            path,
            fields=fields,
            split=arguments.split,
            source=arguments.source,
            lenient=arguments.lenient,
            name=name,
            on_progress=progress,
        )
    keys = first_keys(path)
    if keys and not keys & {"trace_version", "steps", "final_answer"}:
        turns = sorted(keys & {"conversation", "conversations", "messages"})
        which = (
            f"--map conversation={turns[0]}, and --split RULE for the answer in its reply"
            if turns
            else "--map prompt=KEY, --map final_answer=KEY, and --map steps=KEY or --split RULE"
        )
        raise DataError(f"{name}: has the keys {listed(sorted(keys))}; say which is which: {which}")
    if arguments.lenient:
        found = read_traces_leniently(path, source=name, on_progress=progress)
    else:
        found = LenientRead(read_traces(path, source=name), [])
    return replace(found, traces=list(_sourced(found.traces, arguments.source)))


def _sourced(traces: Iterable[Trace], source: str | None) -> Iterator[Trace]:
    """Yield the traces with where they come from in meta, as mapped ones have it; ids stay."""
    for trace in traces:
        meta = trace.meta or {}
        if source is None or meta.get("source") == source:
            yield trace
            continue
        original = {"original_source": meta["source"]} if "source" in meta else {}
        yield msgspec.structs.replace(trace, meta={**meta, **original, "source": source})


def _of_run(arguments: argparse.Namespace) -> Iterator[Read]:
    for run in open_runs(arguments, [arguments.from_run]):
        for evaluation in run.evaluations.values():
            yield _of_evaluation(evaluation, arguments)


def _of_evaluation(evaluation: Evaluation, arguments: argparse.Namespace) -> Read:
    held = evaluation.manifest
    items = {str(one.item.id): one.item for one in evaluation.scored}
    path = evaluation.directory / f"eval_after.{held.evalset}.jsonl"
    traces, left_out = traces_of_run(
        [msgspec.json.decode(line) for line in path.read_bytes().splitlines()],
        items.values(),
        run_id=held.run_id,
        evalset=held.evalset,
        scorer=arguments.metric or evaluation.primary,
        answer=msgspec.convert(held.answer, AnswerRule),
        only=arguments.only,
    )
    return Read(evaluation.where, traces, [], [f"{item_id}: {reason}" for item_id, reason in left_out])
