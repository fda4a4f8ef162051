"""The fixtures, one a stage. Light: stages are imported by the session, at first use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tunix_eval.plugin.state import GATE_KEY

if TYPE_CHECKING:
    from syrupy.assertion import SnapshotAssertion

    from tunix_eval.plugin.device import Device
    from tunix_eval.plugin.needs import Need
    from tunix_eval.plugin.prepare import Format
    from tunix_eval.plugin.session import Session
    from tunix_eval.plugin.sources import Run
    from tunix_eval.plugin.views import Case, Gate
    from tunix_eval.records import (
        Batch,
        Completion,
        Conversation,
        Dataset,
        Renderer,
        Scorecard,
        Tokenizer,
        TokenSequence,
    )


@pytest.fixture(scope="session")
def tunix_session(request: pytest.FixtureRequest) -> Session:
    """What the session knows, for fixtures of wider scope: specs, datasets, runs, evaluations."""
    from tunix_eval.plugin.session import Session

    return Session.open(request.config)


@pytest.fixture
def _tunix_need(request: pytest.FixtureRequest, tunix_session: Session) -> Need:
    """What the test's markers ask for."""
    from tunix_eval.plugin.needs import need_of

    return need_of(tunix_session, request.node)


@pytest.fixture
def _tunix_format(tunix_session: Session, _tunix_need: Need) -> Format:
    """Renderer, tokenizer and style, of the marker or the run file."""
    from tunix_eval.plugin.views import format_of

    return format_of(tunix_session, _tunix_need)


@pytest.fixture
def tunix_device(tunix_session: Session) -> Device:
    """The device of this session: platform, count, index."""
    return tunix_session.device


@pytest.fixture
def tunix_dataset(tunix_session: Session, _tunix_need: Need) -> Dataset:
    """The dataset of the marker tunix_dataset, else of the run file."""
    return tunix_session.library.dataset(_tunix_need.dataset or _tunix_need.training().dataset)


@pytest.fixture
def tunix_renderer(_tunix_format: Format) -> Renderer:
    """The renderer of the marker tunix_renderer, else of the run file."""
    return _tunix_format.renderer


@pytest.fixture
def tunix_tokenizer(_tunix_format: Format) -> Tokenizer:
    """The tokenizer of the run file, with an id for each of the renderer's control tokens."""
    return _tunix_format.tokenizer


@pytest.fixture
def tunix_turns(tunix_dataset: Dataset, _tunix_format: Format) -> tuple[Conversation, ...]:
    """Every trace as a conversation, the steps written in the run's style."""
    return _tunix_format.turns(tunix_dataset)


@pytest.fixture
def tunix_sequences(tunix_dataset: Dataset, _tunix_format: Format) -> tuple[TokenSequence, ...]:
    """Every trace as text, token ids and loss mask."""
    return _tunix_format.sequences(tunix_dataset)


@pytest.fixture
def tunix_batches(_tunix_need: Need, tunix_dataset: Dataset, _tunix_format: Format) -> Batch:
    """Every packed row: tokens, loss mask, segment ids and positions, [rows, row_tokens]."""
    from tunix_eval.plugin.prepare import Prepared

    return Prepared(_tunix_need.training(), tunix_dataset, _tunix_format).rows


@pytest.fixture
def tunix_run(tunix_session: Session, _tunix_need: Need) -> Run:
    """The training run of the marker tunix_train: recorded, or trained now under --tunix-train."""
    return tunix_session.weights(_tunix_need.the_spec())


@pytest.fixture
def tunix_completions(tunix_session: Session, _tunix_need: Need) -> tuple[Completion, ...]:
    """What was written for every item of the evalset, in the evalset's order, repeats one after the other."""
    source = tunix_session.source(_tunix_need.the_spec())
    evaluation = tunix_session.evaluation(source, _tunix_need.the_evalset(tunix_session))
    return tuple(scored.completion for scored in evaluation.scored)


@pytest.fixture
def tunix_scorecard(tunix_session: Session, _tunix_need: Need) -> Scorecard:
    """What the completions are worth on the whole evalset: `tunix_scorecard["exact"].mean`."""
    source = tunix_session.source(_tunix_need.the_spec())
    return tunix_session.before_and_after(source, _tunix_need.the_evalset(tunix_session)).card


@pytest.fixture
def tunix_case(request: pytest.FixtureRequest) -> Case:
    """One evalset item as one test; its completion and scores are had on first use."""
    case: Case = request.param
    return case.bound(request.node)


@pytest.fixture
def tunix_gate(request: pytest.FixtureRequest, tunix_session: Session, _tunix_need: Need) -> Gate:
    """The test's gates: `check()` decides the markers', `no_worse`, `better` and others decide one at the call."""
    from tunix_eval.plugin.views import Gate

    tunix_session.source(_tunix_need.the_spec())
    request.node.stash[GATE_KEY] = gate = Gate(tunix_session, _tunix_need)
    return gate


@pytest.fixture
def tunix_train(request: pytest.FixtureRequest, tunix_session: Session) -> Callable[..., Run]:
    """A function that gives the run of a run file with overrides: `tunix_train("x.toml", style="none")`."""
    from tunix_eval.run_files import run_file_path

    folder: Path = request.path.parent

    def train(spec: str, **overrides: Mapping[str, Any] | Any) -> Run:
        return tunix_session.weights(tunix_session.library.spec(run_file_path(spec, folder), overrides, folder=folder))

    return train


@pytest.fixture
def tunix_snapshot(request: pytest.FixtureRequest) -> SnapshotAssertion:
    """A syrupy snapshot that shows sequences with their turns, token ids and supervised spans."""
    from tunix_eval.plugin.snapshots import SequenceExtension

    snapshot: SnapshotAssertion = request.getfixturevalue("snapshot")
    return snapshot.use_extension(SequenceExtension)
