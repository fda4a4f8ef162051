"""A fine-tuning run as a test session: pytest --tunix-train examples/quickstart"""

import pytest

pytestmark = pytest.mark.tunix_train("addition.toml")


def test_format_is_stable(tunix_sequences, tunix_snapshot):
    assert tunix_sequences[:3] == tunix_snapshot


def test_loss_falls(tunix_run):
    assert tunix_run.loss.last(50) < 0.1 < tunix_run.loss.first(10)


@pytest.mark.tunix_evalset("addition-heldout")
def test_learns(tunix_scorecard):
    assert tunix_scorecard["exact"].mean >= 0.9


@pytest.mark.tunix_evalset("addition-heldout")
@pytest.mark.tunix_gate("no_worse", metric="exact", margin=0.01)
def test_no_worse(tunix_gate):
    tunix_gate.check()


@pytest.mark.tunix_evalset("addition-heldout")
def test_reasoning_helps(tunix_train, tunix_gate):
    answers_only = tunix_train("addition.toml", style="none")
    tunix_gate.better("exact", than=answers_only)
