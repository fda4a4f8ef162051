"""`tunix-eval runs`: what the artifacts directory holds, in what runs differ, and making room."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tunix_eval.cli.inputs import NATURAL
from tunix_eval.cli.kept_files import KeptFile, kept_files, totals, useless
from tunix_eval.cli.kept_runs import KeptRun, kept_runs, named
from tunix_eval.cli.recorded import open_store
from tunix_eval.cli.shown_runs import age_text, as_json_lines, run_differences, shown
from tunix_eval.cli.terminal import columns, counted, listed
from tunix_eval.errors import ArtifactError, SpecError
from tunix_eval.figures import bytes_text, printable
from tunix_eval.settings import read_settings
from tunix_eval.store import Store, remove


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    actions = parser.add_subparsers(metavar="ACTION", dest="action", required=True)

    def action(name: str, summary: str) -> argparse.ArgumentParser:
        added = actions.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        added.add_argument("--artifacts", metavar="DIR", help="the records, else as ./pyproject.toml sets it")
        added.add_argument("--baselines", metavar="DIR", help="the baselines, else as ./pyproject.toml sets it")
        return added

    def deletes(added: argparse.ArgumentParser) -> None:
        added.add_argument("--force", action="store_true", help="remove what something refers to, too")
        added.add_argument("--dry-run", action="store_true", help="say what would go, and remove nothing")

    lists = action("list", "list every run: state, size, age, and what refers to it")
    lists.add_argument("--json", action="store_true", help="print JSON")
    shows = action("show", "show one run: its data, recipe and scores, its files, and what refers to it")
    shows.add_argument("wanted", metavar="RUN", help="id, first digits of it, or name")
    shows.add_argument("--json", action="store_true", help="print JSON")
    differs = action("diff", "say in what two runs differ: settings, traces, libraries, machine, scores")
    differs.add_argument("before", metavar="A", help="id, first digits of it, or name")
    differs.add_argument("after", metavar="B", help="id, first digits of it, or name")
    differs.add_argument("--json", action="store_true", help="print JSON")
    removes = action("rm", "remove runs, with their evaluations and checkpoints")
    removes.add_argument("runs", metavar="RUN", nargs="+", help="id, first digits of it, or name")
    deletes(removes)
    collects = action("gc", "remove all but the newest runs of each name, and what was replaced")
    collects.add_argument(
        "--keep",
        metavar="N",
        type=NATURAL,
        required=True,
        help="runs of each name that stay, the newest: of the finished ones, and of the others",
    )
    deletes(collects)


def run(arguments: argparse.Namespace) -> tuple[list[str], int]:
    """Return what to print; 1 where a run was to be removed that something refers to."""
    store = open_store(arguments)
    baselines = Path(arguments.baselines or read_settings(Path.cwd()).baselines)
    if arguments.artifacts and not store.root.is_dir():
        raise SpecError(f"--artifacts {arguments.artifacts}: no such folder")
    if arguments.baselines and not baselines.is_dir():
        raise SpecError(f"--baselines {arguments.baselines}: no such folder")
    runs = kept_runs(store, baselines, Path.cwd())
    if arguments.action == "list":
        listing = _listing(runs, kept_files(store, baselines), store)
        return (as_json_lines([one.as_json() for one in runs]) if arguments.json else listing), 0
    if arguments.action == "show":
        return shown(named(arguments.wanted, runs, store), kept_files(store, baselines), as_json=arguments.json), 0
    if arguments.action == "diff":
        both = (named(reference, runs, store) for reference in (arguments.before, arguments.after))
        return run_differences(*both, as_json=arguments.json), 0
    if arguments.action == "rm":
        lines, code = _removed(_chosen(arguments.runs, runs, store), store, arguments)
    else:
        lines, code = _collected(runs, kept_files(store, baselines), store, arguments)
    return [*_unprotected(baselines, arguments), *lines], code


# -------------------------------------------------------------------------------------------------------------- list


def _listing(runs: Sequence[KeptRun], files: Sequence[KeptFile], store: Store) -> list[str]:
    besides = totals(files)
    held = [f"besides: {'; '.join(besides)}"] if besides else []
    if not runs:
        return [f"no runs in {printable(str(store.root))}", *held]
    rows = [("run", "name", "state", "seed", "size", "age", "referred to by")]
    rows += [
        (
            one.run_id,
            printable(one.name or "?"),
            one.status_text,
            "" if one.seed is None else str(one.seed),
            bytes_text(one.size_bytes),
            age_text(one.created_at),
            printable(listed(one.referred_by, 3)),
        )
        for one in runs
    ]
    total = bytes_text(sum(one.size_bytes for one in runs))
    return [*columns(rows), f"{counted(len(runs), 'run')}, {total} in {printable(str(store.root))}", *held]


# ------------------------------------------------------------------------------------------------------------ rm, gc


def _unprotected(baselines: Path, arguments: argparse.Namespace) -> list[str]:
    """Say so where runs are elsewhere, and the baselines that may refer to them were not found."""
    if not arguments.artifacts or baselines.is_dir():
        return []
    return [
        f"note: no baselines in {printable(str(baselines))}, and so none that refers to a run; --baselines names them"
    ]


def _chosen(references: Sequence[str], runs: list[KeptRun], store: Store) -> list[KeptRun]:
    found = [named(reference, runs, store) for reference in references]
    if twice := [run_id for run_id, count in Counter(one.run_id for one in found).items() if count > 1]:
        raise SpecError(f"run {twice[0]} is named twice; name it once")
    return found


def _removed(chosen: Sequence[KeptRun], store: Store, arguments: argparse.Namespace) -> tuple[list[str], int]:
    """Remove all of what was named, or nothing of it."""
    for one in chosen:
        would = "would refuse: " if arguments.dry_run else ""
        if one.status == "training":
            raise ArtifactError(f"{would}run {one.run_id} ({one.name}) is being trained; stop that first")
        missed_by = _missed_by(one, chosen)
        if missed_by and not arguments.force:
            raise ArtifactError(
                f"{would}run {one.run_id} ({one.name}) is referred to: {listed(missed_by)}; --force removes it all "
                "the same"
            )
    return _gone(chosen, store, arguments), 0


def _collected(
    runs: Sequence[KeptRun], held: Sequence[KeptFile], store: Store, arguments: argparse.Namespace
) -> tuple[list[str], int]:
    """Remove all but the newest of each name; what something refers to stays, and is named."""
    begun = {one.run_id for one in runs if one.status in ("unfinished", "training")}
    newer = Counter[tuple[str | None, bool]]()
    doomed: list[KeptRun] = []
    lines = []
    for one in runs:
        # A training that failed, was stopped or cut short takes no finished run's place.
        same = one.name, one.status == "complete"
        newer[same] += one.status != "replaced"
        stays = one.run_id in begun if one.status == "replaced" else newer[same] <= arguments.keep
        if stays or one.status == "training":
            continue
        missed_by = _missed_by(one, doomed)
        if missed_by and not arguments.force:
            lines.append(f"kept {_introduced(one)}: {printable(listed(missed_by))}")
        else:
            doomed.append(one)
    staying = [one for one in runs if one not in doomed]
    files = useless(held, staying, arguments.keep)
    # Another session may be about to read what nothing refers to yet.
    spared = [one for one in files if one.kind != "left"] if files and store.is_busy() else []
    if spared:
        lines.append(f"kept {'; '.join(totals(spared))}: a session works in {printable(str(store.root))}")
    return [*lines, *_gone(doomed, store, arguments, [one for one in files if one not in spared])], 0


def _missed_by(one: KeptRun, going: Sequence[KeptRun]) -> list[str]:
    """Return what refers to a run, those apart that go with it."""
    ids = {other.run_id for other in going}
    return [text for text in one.referred_by if not any(text == f"run {run_id} began from it" for run_id in ids)]


def _gone(
    doomed: Sequence[KeptRun], store: Store, arguments: argparse.Namespace, files: Sequence[KeptFile] = ()
) -> list[str]:
    done = "would remove" if arguments.dry_run else "removed"
    if not arguments.dry_run:
        for one in doomed:
            store.remove_run(one.run_id, replaced=one.status == "replaced")
        for file in files:
            remove(file.path)
    lines = [*(_introduced(one) for one in doomed), *totals(files)]
    size = sum(one.size_bytes for one in doomed) + sum(one.size_bytes for one in files)
    besides = " and what is named above" if files else ""
    return [*(f"{done} {line}" for line in lines), f"{done} {counted(len(doomed), 'run')}{besides}, {bytes_text(size)}"]


def _introduced(one: KeptRun) -> str:
    return f"{one.run_id} ({printable(one.name or '?')}, {one.status_text}, {bytes_text(one.size_bytes)})"
