"""Run files as test files: `pytest --tunix-train addition.toml` collects data, format, train, eval and gate items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from tunix_eval.errors import DataError, TunixEvalError
from tunix_eval.gate import corrected
from tunix_eval.plugin.gating import compared_spec, gate_evalset, judge
from tunix_eval.plugin.needs import Need
from tunix_eval.plugin.reporting import with_short_paths
from tunix_eval.plugin.session import Session
from tunix_eval.plugin.views import enforce
from tunix_eval.records import Verdict
from tunix_eval.specs import GateSpec, RunSpec

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
            spec = Session.open(self.config).library.spec(self.path, {})
        except TunixEvalError as error:
            raise self.CollectError(with_short_paths(self.config, str(error))) from None
        folder = self.path.parent

        def item(name: str, stage: Stage, **need: Any) -> RunItem:
            made: RunItem = RunItem.from_parent(self, name=name)
            made.tunix_stage, made.tunix_need = stage, Need(folder, spec=spec, **need)
            return made

        if isinstance(spec, RunSpec):
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
            # A correction is over all gates of the file, whichever of them are selected.
            gates = spec.gates if spec.correction else (gate,)
            made = item(f"gate[{unique('-'.join(parts))}]", "gate", run=True, gated=True, gates=gates)
            made.tunix_gate = gate
            yield made


class RunItem(pytest.Item):
    """One stage of a run file."""

    tunix_stage: Stage
    tunix_need: Need
    tunix_gate: GateSpec
    """The gate that an item of the stage gate decides."""

    def runtest(self) -> None:
        """Do the stage; what it needs is done first, once."""
        session, need = Session.open(self.config), self.tunix_need
        if self.tunix_stage == "data":
            if not session.prepared(need.training()).dataset.traces:
                raise DataError(f"dataset {need.training().dataset} holds no trace")
        elif self.tunix_stage == "format":
            _check_format(session, need)
        elif self.tunix_stage == "train":
            session.run(need.training())
        elif self.tunix_stage == "eval":
            session.before_and_after(session.source(need.the_spec()), need.the_evalset(session))
        else:
            enforce(session, [self._verdict(session, need)])

    def _verdict(self, session: Session, need: Need) -> Verdict:
        spec = need.the_spec()
        verdicts = [
            judge(
                session,
                spec,
                gate,
                gate_evalset(session, spec, gate, need.evalset),
                than=compared_spec(session, gate, need.folder),
            )
            for gate in need.gates
        ]
        if spec.correction:
            verdicts = corrected(verdicts, spec.correction)
        return verdicts[need.gates.index(self.tunix_gate)]

    def reportinfo(self) -> tuple[Path, int, str]:
        """Name the item by its file and stage."""
        # A skipped item is shown with its line, which pytest takes to be there.
        return self.path, 0, self.name


def _check_format(session: Session, need: Need) -> None:
    """Encode every trace, with what is checked of each, and pack them."""
    prepared = session.prepared(need.training())
    packed = sum(len(ids) for ids in prepared.rows.trace_ids)
    if packed != len(prepared.sequences):
        raise DataError(f"{packed} of {len(prepared.sequences)} traces are in the packed rows")
