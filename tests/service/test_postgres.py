"""The service's tables in a real PostgreSQL: they do what the file does, and outlive the database, the service and their passwords' readers."""

import json
import os
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
import pytest
from support import postgres
from support.service import API, SMALL, TOKEN, services_of
from support.tiny import write_folder

pytest.importorskip("sqlalchemy")
psycopg = pytest.importorskip("psycopg")

from sounddetect.service.access import Access  # noqa: E402
from sounddetect.service.database import Database, DatabaseGoneError, Fact  # noqa: E402
from sounddetect.service.queue import Queue, last_place  # noqa: E402

N_KILLS = max(1, int(os.environ.get("SOUNDDETECT_KILLS", 3)) // 3)  # `make nightly` sets more


@pytest.fixture(scope="module")
def server():
    with postgres.server() as found:
        yield found


@pytest.fixture
def empty(server):
    """Its address, and nothing in the tables."""
    with psycopg.connect(server.address) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return server.address


def test_a_queue_keeps_what_json_can_say_and_gives_a_training_to_one_only(empty):
    queue, other = Queue(empty), Queue(empty)
    work = {"paths": ["日本語 'quoted' \\ %s"], "settings": {"session.max_hours": float("inf"), "a": None, "b": [1, 0.1]}}
    for number in range(3):
        queue.add(f"t{number}", f"runs/t{number}", work)
    assert [one.id for one in other.trainings("queued")] == ["t0", "t1", "t2"] and other.get("t1").work == work
    with ThreadPoolExecutor(8) as threads:
        won = list(threads.map(lambda number: (queue, other)[number % 2].change("t0", "queued", status="running", slot=number), range(24)))
    assert sum(won) == 1 and queue.get("t0").slot == won.index(True)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: (queue, other)[number % 2].add(f"u{number}", "runs/u", {}, priority=-1), range(24)))
    assert [one.place for one in queue.trainings()] == list(range(1, 28)), "two have the same place"
    assert other.change("t2", "queued", place=last_place()) and queue.trainings()[2].id == "t2" and queue.get("t2").place == 28
    assert other.change("t1", "queued", place=other.get("t1").place - 1e9) and [one.id for one in queue.trainings()[:3]] == ["t1", "t0", "t2"]
    queue.close()
    other.close()


def test_a_database_of_an_earlier_version_is_brought_forward(empty):
    queue = Queue(empty)
    queue.add("fan", "runs/fan", {"paths": ["fans"]})
    queue.close()
    with psycopg.connect(empty) as connection:                    # as the version without priorities has left it
        connection.execute("ALTER TABLE trainings DROP COLUMN priority")
        connection.execute("UPDATE facts SET value = '1' WHERE name = 'format'")
    for _ in range(2):
        queue = Queue(empty)
        assert [(one.id, one.work, one.priority) for one in queue.trainings()] == [("fan", {"paths": ["fans"]}, 0)]
        queue.close()


def test_tokens_and_record_are_those_of_the_file(empty, tmp_path):
    told = []
    for place in (empty, tmp_path / "access.db"):
        access = Access(place, owner=TOKEN)
        token = access.add("hanako", "run")
        person = access.person(token)
        for path in ("/a", "/\0b", "/" + "x" * 500):
            access.note("hanako", "POST", path, 200)
        with pytest.raises(ValueError, match="hanako has a token already"):
            access.add("hanako", "read")
        assert access.of_session(person.session) == person and access.person(TOKEN).name == "owner" and access.person("no") is None
        told.append([[one["name"], one["role"]] for one in access.tokens()] + [entry["path"] for entry in access.record()])
        access.remove("hanako")
        assert access.person(token) is None
        access.close()
    assert told[0] == told[1]


def test_a_database_belongs_to_one_service_and_to_no_newer_version(empty):
    Database(empty).claim("a")
    with pytest.raises(ValueError, match="belongs to the service over another folder") as refused:
        Database(empty).claim("b")
    with Database(empty).session() as session:
        session.get(Fact, "format").value = "99"
    with pytest.raises(ValueError, match="newer version") as newer:
        Database(empty)
    with pytest.raises(ValueError, match="password authentication failed") as wrong:
        Database(empty.replace(postgres.PASSWORD, "guessed"))
    assert not any(postgres.PASSWORD in str(one.value) or "guessed" in str(one.value) for one in (refused, newer, wrong))


def test_an_open_database_that_was_killed_answers_again(server, empty):
    queue = Queue(empty)
    queue.add("t", "runs/t", {})
    server.kill()
    try:
        with pytest.raises(DatabaseGoneError, match="does not answer, try again in a minute"):
            queue.trainings()
    finally:
        server.start()
    assert [one.id for one in queue.trainings()] == ["t"]
    queue.close()


@pytest.mark.slow
def test_killed_database_and_service_lose_nothing_that_was_answered(server, empty, tmp_path):
    """A training runs, tokens are made and trainings are queued without end; then all is killed in the middle of it."""
    write_folder(tmp_path / "dataset")
    asked = {"mode": "full", "dataset_path": "dataset", "model_architecture": "n", "batch_size": 2, "settings": SMALL | {"training.early_stopping": None}}
    with services_of(tmp_path) as services:
        service = services(SOUNDDETECT_DATABASE=empty)
        first = service.post("/training/start", **asked, epochs=10)["training_id"]
        answered = {}
        for number in range(N_KILLS):
            draw = random.Random(number)
            client = threading.Thread(target=make_tokens, args=(service, f"n{number}", answered))
            client.start()
            wanted = len(answered) + draw.randint(5, 15)
            while len(answered) < wanted:
                time.sleep(0.01)
            server.kill()
            if number % 2 == 0:
                refused = service.client.get(f"{API}/training/status/{first}")
                assert refused.status_code == 503 and "does not answer" in refused.json()["detail"]
                assert service.client.get("/health").status_code == 200
                assert postgres.PASSWORD not in refused.text
                hide_password(service)
            os.kill(service.process.pid, signal.SIGKILL)
            service.process.communicate()
            client.join()
            server.start()
            service = services(SOUNDDETECT_DATABASE=empty)
        assert service.until(first, "completed", "failed")["status"] == "completed"
        known = {one["name"] for one in service.get("/tokens")["tokens"]}
        assert set(answered) <= known, "a token that was given is gone"
        for token in list(answered.values())[:3]:
            assert httpx.get(f"{service.address}{API}/runs", headers={"Authorization": f"Bearer {token}"}).status_code == 200
        made = [entry for entry in service.get("/record")["record"] if entry["path"].endswith("/tokens") and entry["status"] == 200]
        assert len(made) >= len(answered), "an answer is missing in the record"
        assert not list((tmp_path / ".sounddetect").glob("*.db")), "nothing is kept beside the database"
        assert service.end() == 0
    with psycopg.connect(empty) as connection:
        (owner,) = connection.execute("SELECT value FROM facts WHERE name = 'owner'").fetchone()
    assert owner == (tmp_path / ".sounddetect" / "name").read_text(), "whose the database is, is not known"


def make_tokens(service, name, answered):
    """Make tokens until nobody answers; those that were told are in `answered`."""
    number = 0
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=service.address, headers=headers, timeout=120) as client:
        while True:
            try:
                answer = client.post(f"{API}/tokens", content=json.dumps({"name": f"{name}-{number}", "role": "read"}), headers={"content-type": "application/json"})
            except httpx.HTTPError:
                return
            if answer.status_code != 200:
                return
            answered[f"{name}-{number}"] = answer.json()["token"]
            number += 1


def hide_password(service):
    """No line of a process shows the password."""
    for process in [psutil.Process(service.process.pid), *psutil.Process(service.process.pid).children(recursive=True)]:
        assert postgres.PASSWORD not in " ".join(process.cmdline())
