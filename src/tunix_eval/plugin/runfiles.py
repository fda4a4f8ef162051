"""Run files as test files: `pytest --tunix-train addition.toml` collects data, format, train, eval and gate items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from tunix_eval.errors import DataError, TunixEvalError
from tunix_eval.plugin.gating import compared_run, gate_evalset
from tunix_eval.plugin.needs import Need
from tunix_eval.plugin.reporting import with_short_paths
from tunix_eval.plugin.session import Session
from tunix_eval.plugin.views import enforce, verdict_of

Stage = Literal["data", "format", "train", "eval", "gate"]


class RunFile(pytest.File):
    """A run file named on the command line or by the ini option tunix_run_files."""

    def collect(self) -> Iterator[pytest.Item]:
        """Yield an item a stage, an evalset and a gate."""
        if self.config.option.tunix_off:
            off: RunItem = RunItem.from_parent(self, name="off")
            off.tunix_stage = "data"
            yield off
            return
        try:
            spec = Session.open(self.config).spec(self.path, {})
        except TunixEvalError as error:
            raise self.CollectError(with_short_paths(self.config, str(error))) from None
        folder = self.path.parent

        def item(name: str, stage: Stage, **need: Any) -> RunItem:
            made: RunItem = RunItem.from_parent(self, name=name)
            made.tunix_stage, made.tunix_need = stage, Need(folder, spec=spec, **need)
            return made

        yield item("data", "data")
        yield item("format", "format")
        yield item("train", "train", run=True)
        names: Counter[str] = Counter()

        def unique(name: str) -> str:
            names[name] += 1
            return f"{name}-{names[name]}" if names[name] > 1 else name

        for reference in spec.evalsets:
            yield item(f"eval[{unique(Path(reference).stem)}]", "eval", run=True, evalset=reference)
        for gate in spec.gates:
            parts = [gate.rule, gate.metric, *([Path(gate.evalset).stem] if gate.evalset else [])]
            yield item(f"gate[{unique('-'.join(parts))}]", "gate", run=True, gated=True, gates=(gate,))


class RunItem(pytest.Item):
    """One stage of a run file."""

    tunix_stage: Stage
    tunix_need: Need

    def runtest(self) -> None:
        """Do the stage; what it needs is done first, once."""
        session, need = Session.open(self.config), self.tunix_need
        spec = need.the_spec()
        if self.tunix_stage == "data":
            if not session.prepared(spec).dataset.traces:
                raise DataError(f"dataset {spec.dataset} holds no trace")
        elif self.tunix_stage == "format":
            _check_format(session, need)
        elif self.tunix_stage == "train":
            session.run(spec)
        elif self.tunix_stage == "eval":
            session.before_and_after(session.run(spec), need.the_evalset(session))
        else:
            for gate in need.gates:
                evalset = gate_evalset(session, spec, gate, need.evalset)
                than = compared_run(session, gate, need.folder)
                enforce(session, [verdict_of(session, session.run(spec), gate, evalset, than)])

    def reportinfo(self) -> tuple[Path, int, str]:
        """Name the item by its file and stage."""
        # A skipped item is shown with its line, which pytest takes to be there.
        return self.path, 0, self.name


def _check_format(session: Session, need: Need) -> None:
    """Encode and pack every trace, and check that each has something to learn from."""
    prepared = session.prepared(need.the_spec())
    for sequence in prepared.sequences:
        if not sequence.loss_mask.any() or sequence.loss_mask.all():
            raise DataError(
                f"trace '{sequence.trace_id}': the loss mask covers {int(sequence.loss_mask.sum())} of "
                f"{len(sequence.ids)} tokens; expected some and not all"
            )
    packed = sum(len(ids) for ids in prepared.rows.trace_ids)
    if packed != len(prepared.sequences):
        raise DataError(f"{packed} of {len(prepared.sequences)} traces are in the packed rows")
