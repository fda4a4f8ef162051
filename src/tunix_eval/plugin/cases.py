"""The items of an evalset as tests."""

from __future__ import annotations

import pytest

from tunix_eval.errors import SpecError
from tunix_eval.plugin.needs import named_spec, reference_of
from tunix_eval.plugin.session import Session
from tunix_eval.plugin.views import Case, CaseSet


def cases_of(metafunc: pytest.Metafunc) -> list[Case]:
    """Return a case for every item of the evalset that the test's markers name.

    Raises:
        SpecError: no evalset is named, or the run file is wrong.
    """
    definition = metafunc.definition
    session, folder = Session.open(metafunc.config), definition.path.parent
    session.registry.forget()
    reference = reference_of(definition.get_closest_marker("tunix_evalset"), folder)
    if reference is None:
        spec = named_spec(session, definition, folder)
        if spec is None or len(spec.evalsets) != 1:
            raise SpecError('takes tunix_case and names no evalset: mark it with @pytest.mark.tunix_evalset("name")')
        reference = spec.evalsets[0]
    evalset = session.library.evalset(reference, folder=folder)
    cases = CaseSet(session, evalset)
    return [Case(cases, item) for item in evalset.items]
