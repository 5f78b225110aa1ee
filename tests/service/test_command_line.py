"""What all commands have in common: help that comes at once, completion, `--json`, one line for what is wrong."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.main import get_command

from service.cli import app, resumable
from tests.builders import clustered
from tests.service.command_line import Run, runner
from tests.service.requests import result
from tests.service.service_in_process import Client

ROOT = Path(__file__).parents[2]
NOWHERE = ("--url", "http://127.0.0.1:1")
HEAVY = {"torch", "numpy", "faiss", "numba", "fastapi", "uvicorn", "httpx", "rich", "pydantic", "asyncio"}
# 183 on Python 3.11, and 0.19 s of CPU on an AMD EPYC. With Rich's help and the settings there were 508, and 0.5 s.
MOST_MODULES = 250

TO_A_SERVER = [
    ("query", "c", "--id", "1"),
    ("recall", "c"),
    ("ingest", "v.npy", "--collection", "c"),
    ("snapshot", "create", "c"),
    ("snapshot", "list", "c"),
    ("snapshot", "restore", "c", "s"),
    ("snapshot", "delete", "c", "s"),
]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(monkeypatch, capsys)


@pytest.fixture(autouse=True)
def _in_a_folder_with_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("v.npy", clustered(5))


def fresh(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A process of its own, in which nothing is imported yet."""
    command = [sys.executable, "-c", code, *arguments]
    variables = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60, check=False)


def test_help_imports_little_and_nothing_heavy() -> None:
    code = f"""
import sys, service.cli
try:
    service.cli.main()
except SystemExit:
    print(len(sys.modules), sorted({HEAVY!r} & sys.modules.keys()))
"""
    done = fresh(code, "--help")
    assert "Usage: qinco-server" in done.stdout, done.stderr
    modules, heavy = done.stdout.splitlines()[-1].split(" ", 1)
    assert heavy == "[]"
    assert int(modules) < MOST_MODULES


def test_commands_are_completed() -> None:
    words = {"COMP_WORDS": "qinco-server snapshot re", "COMP_CWORD": "2", "_QINCO_SERVER_COMPLETE": "complete_bash"}
    assert fresh("from service.cli import main; main()", **words).stdout.split() == ["restore"]


def leaves(group: Any = get_command(app), before: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:  # noqa: B008
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaves(command, (*before, name))
        else:
            yield (*before, name), command


@pytest.mark.parametrize(("name", "command"), list(leaves()), ids=[" ".join(name) for name, _ in leaves()])
def test_every_command_that_prints_results_prints_json_too(name: tuple[str, ...], command: Any) -> None:
    options = {option for parameter in command.params for option in parameter.opts}
    assert ("--json" in options) == (name != ("serve",))
    for parameter in command.params:
        if parameter.name != "help":
            assert parameter.help, f"{parameter.name} of {' '.join(name)} has no help"


@pytest.mark.parametrize("command", TO_A_SERVER, ids=lambda one: "-".join(one[:2]))
def test_a_server_that_does_not_answer_is_told_in_one_line(run: Run, command: tuple[str, ...]) -> None:
    done = run(*command, *NOWHERE)
    assert (done.status, len(done.err.splitlines()), done.out) == (1, 1, "")
    assert "Is the server running?" in done.err


@pytest.mark.parametrize("command", [("serve",), ("config",), *TO_A_SERVER], ids=lambda one: "-".join(one[:2]))
def test_a_misspelt_variable_stops_every_command_that_reads_settings(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("QINCO_PROT", "7000")
    done = run(*command)
    assert (done.status, done.out) == (1, "")
    assert done.err == "Unknown variable QINCO_PROT. Did you mean QINCO_PORT?\n"


@pytest.mark.parametrize(
    ("command", "named"),
    [
        (("verify", "none"), "none is not a data folder"),
        (("verify", "v.npy"), "v.npy is not a data folder"),
        (("query", "c"), "--vector or --id"),
        (("query", "c", "--id", "1", "--vector", "v.npy"), "--vector or --id"),
        (("query", "c", "--id", "1", "--filter", "{x"), "--filter is not JSON"),
        (("recall", "c", "--sample", "many"), "--sample"),
        (("serve", "--port", "99999"), "'port'"),
        (("serve", "--device", "tpu"), "'device'"),
        (("serve", "--threads", "0"), "'threads'"),
        (("snapshot", "restore", "c"), "'source'"),
        (("model", "info", "none"), "none"),
        (("train", "v.npy", "--out", "x", "--time-budget", "soon"), "--time-budget is a number with s, m or h"),
        (("train", "v.npy", "--out", "no/folder"), "There is no folder no to write folder into"),
    ],
)
def test_wrong_input_is_told_in_one_line(run: Run, command: tuple[str, ...], named: str) -> None:
    done = run(*command)
    assert done.status in (1, 2)
    assert (len(done.err.splitlines()), done.out) == (1, "")
    assert named in done.err


def test_what_a_server_refuses_is_told_in_one_line(run: Run, client: Client, collection: str) -> None:
    url, name = ("--url", str(client.base_url)), collection.removeprefix("/collections/")
    for command, named in [
        (("query", "none", "--id", "1"), "'none'"),
        (("query", name, "--id", "1"), "no point 1"),
        (("query", name, "--id", "1", "--limit", "0"), "'limit'"),
        (("ingest", "v.npy", "--collection", name), "16 numbers"),
        (("snapshot", "restore", name, "none"), "'none'"),
        (("snapshot", "delete", name, "none"), "'none'"),
        (("snapshot", "list", "none/../x"), "none/../x"),
        (("recall", name, "--sample", "1"), "'sample'"),
    ]:
        np.save("v.npy", clustered(5, dim=3))
        done = run(*command, *url)
        assert (done.status, len(done.err.splitlines()), done.out) == (1, 1, ""), command
        assert named in done.err, done.err


def test_an_upload_with_a_name_goes_on_where_it_broke_off(
    run: Run, client: Client, collection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resumable, "NUMBERS_PER_PART", 20 * 16)
    url, vectors = ("--url", str(client.base_url)), clustered(50)
    name = ("--collection", collection.removeprefix("/collections/"))
    command = ("ingest", "v.npy", *name, "--upload", "m", "--first-id", "0", *url)
    np.save("v.npy", np.concatenate([vectors[:39], np.full((11, 16), np.inf, np.float32)]))
    done = run(*command)
    assert (done.status, "number 0 is inf" in done.err) == (1, True), done.err
    before = {one["id"]: one["version"] for one in _all(client, collection)}
    assert len(before) >= 20
    np.save("v.npy", vectors)
    for _ in range(2):  # once more changes nothing
        assert run(*command).status == 0
        after = {one["id"]: one["version"] for one in _all(client, collection)}
        assert sorted(after) == list(range(50))
        assert all(after[id] == version for id, version in before.items())
        before = after
    changed = vectors.copy()
    changed[30, 3] += 1
    np.save("v.npy", changed)
    assert "Vectors 20 to 39 are not those that were uploaded as 'm.0.1'" in run(*command).err
    assert {one["id"]: one["version"] for one in _all(client, collection)} == before
    np.save("v.npy", vectors[:45])
    assert "'m.0.2' is one of 10 points" in run(*command).err
    assert "--upload is for arrays" in run("ingest", "v.jsonl", *command[2:]).err


def _all(client: Client, collection: str) -> list[dict[str, Any]]:
    body = {"query": [0.0] * 16, "limit": 100, "params": {"exact": True}}
    return list(result(client.post(f"{collection}/points/query", json=body))["points"])


def test_results_are_json_where_it_was_asked_for(run: Run, client: Client, collection: str) -> None:
    url, name = ("--json", "--url", str(client.base_url)), collection.removeprefix("/collections/")

    def told(*command: str) -> Any:
        done = run(*command, *url)
        assert done.status == 0, done.err
        return json.loads(done.out)

    assert told("ingest", "v.npy", "--collection", name) == {"points": 5}
    assert [one["id"] for one in told("query", name, "--id", "1", "--limit", "2")]
    made = told("snapshot", "create", name)
    assert [one["name"] for one in told("snapshot", "list", name)] == [made["name"]]
    assert told("snapshot", "restore", name, made["name"]) == {"restored": name, "from": made["name"]}
    assert told("snapshot", "delete", name, made["name"]) == {"deleted": made["name"]}
    assert result(client.get(f"{collection}/snapshots")) == []


def test_progress_is_a_bar_on_a_terminal_and_lines_in_a_pipe() -> None:
    code = "from service.cli.progress import progress\nwith progress('Work', 3) as report:\n    report(1); report(3)"
    assert fresh(code).stderr.splitlines() == ["Work: 3 of 3"]
    ours, theirs = pty.openpty()
    variables = os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "80"}
    subprocess.run([sys.executable, "-c", code], env=variables, stderr=theirs, check=True, timeout=60)
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert "━" in shown
    assert "3/3" in shown
