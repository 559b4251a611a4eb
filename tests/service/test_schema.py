"""Every address of the service keeps what its OpenAPI document says, whatever it is asked: no 5xx, no undocumented answer."""

import pytest
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from hypothesis import HealthCheck, Phase, given, settings
from support.tiny import write_folder

from sounddetect.service.access import Access
from sounddetect.service.administration import add_administration
from sounddetect.service.answers import Desk
from sounddetect.service.rest import rest_app
from sounddetect.service.roots import Roots

schemathesis = pytest.importorskip("schemathesis")

N_REQUESTS = 8  # to each address
QUIET = settings(
    max_examples=N_REQUESTS,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    folder = tmp_path_factory.mktemp("schema").resolve()
    write_folder(folder / "dataset")
    desk, access = Desk(Roots([folder])), Access(folder / ".sounddetect" / "access.db")
    app = rest_app(desk)
    add_administration(app, access, lambda: "")
    yield app
    desk.keeper.close()
    access.close()


def breaches(app):
    """What an application does against its own document, by address; and how many requests were made."""
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

    checks = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
    found, asked = {}, []
    for operation in (result.ok() for result in schemathesis.openapi.from_asgi("/openapi.json", app).get_all_operations()):

        def ask(case):
            asked.append(case.operation.label)
            try:
                case.validate_response(case.call(timeout=600), checks=checks)  # of itself it gives up after ten seconds
            except BaseExceptionGroup as error:
                found.setdefault(case.operation.label, str(error.exceptions[0])[:500])

        QUIET(given(case=operation.as_strategy())(ask))()
    return found, asked


def test_no_request_breaches_the_document(app):
    found, asked = breaches(app)
    assert not found, "\n".join(f"{label}: {said}" for label, said in found.items())
    assert len(set(asked)) > 20 and len(asked) > 100


def test_a_breach_is_seen():
    toy = FastAPI()

    @toy.get("/number", response_model=None)
    def number(n: int) -> JSONResponse:
        return JSONResponse({"n": n}, 500 if n % 2 else 418)

    assert list(breaches(toy)[0]) == ["GET /number"]
