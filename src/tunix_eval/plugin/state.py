"""Where this plugin keeps its state on pytest's config. Light: an idle session loads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tunix_eval.plugin.determinism import Twice
    from tunix_eval.plugin.device import Device
    from tunix_eval.plugin.plan import Plan
    from tunix_eval.plugin.session import Session
    from tunix_eval.plugin.views import Gate

SESSION_KEY: pytest.StashKey[Session] = pytest.StashKey()
SESSION_ID_KEY: pytest.StashKey[str] = pytest.StashKey()
"""Names this pytest session; workers share it."""
DEVICE_KEY: pytest.StashKey[Device] = pytest.StashKey()
GATE_KEY: pytest.StashKey[Gate] = pytest.StashKey()
"""On an item: the gates that its test was handed."""
PLAN_KEY: pytest.StashKey[Plan] = pytest.StashKey()
TWICE_KEY: pytest.StashKey[Twice] = pytest.StashKey()
"""On an item: the training that it does twice."""
ROWS_KEY: pytest.StashKey[list[dict[str, Any]]] = pytest.StashKey()
"""What tests reported, in the process that prints."""
DESELECTED_KEY: pytest.StashKey[list[pytest.Item]] = pytest.StashKey()
"""Items that -k, -m, --lf and others took out."""
