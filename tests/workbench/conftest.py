"""A test that fails in a browser says what the browser showed."""

import pytest
from support.browser import OPEN
from support.widgets import raise_from_clicks

raise_from_clicks()


def tell(error):
    """Add what open pages show to an error, once: a fixture's error is raised again for each test that needs it."""
    for page in OPEN if not getattr(error, "__notes__", None) else ():
        try:
            error.add_note(page.situation())
        except Exception as silent:
            error.add_note(f"{page.front.kind}: the page says nothing any more ({type(silent).__name__}: {silent})"[:500])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    try:
        return (yield)
    except Exception as error:
        tell(error)
        raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    try:
        return (yield)
    except Exception as error:
        tell(error)
        raise
