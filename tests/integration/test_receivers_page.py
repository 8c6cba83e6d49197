"""The code on the page for receivers does what the page says, with what we really sign."""

import asyncio
import base64
import json
import os
import re
import shutil
import subprocess
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Callable
from functools import cache
from pathlib import Path

import httpx
import pytest
import standardwebhooks

from adapters.webhook.signing import new_secret, public_key, signature_headers
from domain.vocabulary import SecretKind
from tests.fakes.receiver import FakeReceiver

ROOT = Path(__file__).parents[2]
PAGE, README = (ROOT / "docs" / "webhooks.md").read_text(), (ROOT / "README.md").read_text()
ID, AT, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
SHARED, OLD = new_secret(bytes(range(32))), new_secret(bytes(32))
PRIVATE = new_secret(bytes(range(32)), SecretKind.ASYMMETRIC)
PUBLIC = public_key(PRIVATE) or ""

Verifier = Callable[[list[dict[str, object]]], list[bool]]


@cache
def block(language: str, number: int = 0) -> str:
    """The n-th piece of code in this language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)[number]


def vectors() -> dict[str, str]:
    """By key, the signature of the page's table."""
    rows = re.findall(r"^\| `(wh\S+)` \| `(v1a?,\S+)` \|$", PAGE, re.MULTILINE)
    return dict(rows)


def run(command: list[str], folder: Path, said: str = "", **variables: str) -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), **variables}
    done = subprocess.run(
        command, cwd=folder, input=said, capture_output=True, text=True, timeout=120, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def in_python(folder: Path) -> Verifier:
    (folder / "page.py").write_text(block("python"))
    main = """import base64, json, sys, page
cases = json.load(sys.stdin)
print(json.dumps([page.verified(c["headers"], base64.b64decode(c["body"]), c["keys"]) for c in cases]))"""
    return lambda cases: json.loads(run([sys.executable, "-c", main], folder, json.dumps(cases), PYTHONPATH="."))


def in_node(folder: Path) -> Verifier:
    (folder / "page.mjs").write_text(block("js"))
    (folder / "main.mjs").write_text("""import { readFileSync } from "node:fs";
import { verified } from "./page.mjs";
const cases = JSON.parse(readFileSync(0));
console.log(JSON.stringify(cases.map((c) => verified(c.headers, Buffer.from(c.body, "base64"), c.keys))));""")
    return lambda cases: json.loads(run(["node", "main.mjs"], folder, json.dumps(cases)))


def in_go(folder: Path) -> Verifier:
    (folder / "webhook").mkdir()
    (folder / "webhook" / "page.go").write_text(block("go"))
    (folder / "go.mod").write_text("module example.com/page\n\ngo 1.21\n")
    (folder / "main.go").write_text("""package main

import (
	"encoding/json"
	"net/textproto"
	"os"

	"example.com/page/webhook"
)

func main() {
	var cases []struct {
		Headers map[string]string
		Body    []byte
		Keys    []string
	}
	if err := json.NewDecoder(os.Stdin).Decode(&cases); err != nil {
		panic(err)
	}
	results := []bool{}
	for _, c := range cases {
		header := textproto.MIMEHeader{}
		for name, value := range c.Headers {
			header.Set(name, value)
		}
		results = append(results, webhook.Verified(header, c.Body, c.Keys))
	}
	json.NewEncoder(os.Stdout).Encode(results)
}
""")
    run(["go", "build", "-o", "page", "."], folder, GOTOOLCHAIN="local", GOPROXY="off", GOCACHE=_go_cache())
    return lambda cases: json.loads(run(["./page"], folder, json.dumps(cases)))


def _go_cache() -> str:
    """The machine's own: what the standard library compiles to is the same for everybody."""
    return subprocess.run(["go", "env", "GOCACHE"], capture_output=True, text=True, check=True).stdout.strip()


LANGUAGES = {"python": in_python, "node": in_node, "go": in_go}


@pytest.fixture(params=LANGUAGES)
def verifier(request: pytest.FixtureRequest, tmp_path: Path) -> Verifier:
    if request.param != "python" and not shutil.which(request.param):
        missing = pytest.fail if os.environ.get("CI") else pytest.skip  # Python alone must do for `make test`
        missing(f"{request.param} is not on this machine")
    return LANGUAGES[request.param](tmp_path)


def case(
    keys: list[str], secrets: list[str], *, body: bytes = BODY, at: int | None = None, **instead: str
) -> dict[str, object]:
    headers = signature_headers(ID, at or int(time.time()), BODY, secrets)
    headers = {name.lower(): value for name, value in headers.items()} | {
        name.replace("_", "-"): value for name, value in instead.items()
    }
    return {"headers": headers, "body": base64.b64encode(body).decode(), "keys": keys}


def test_the_code_takes_what_we_sign_and_nothing_else(verifier: Verifier) -> None:
    now = int(time.time())
    expected = [
        (True, case([SHARED], [SHARED])),
        (True, case([PUBLIC], [PRIVATE])),
        (True, case([SHARED], [OLD, SHARED])),
        (True, case([OLD], [SHARED, OLD])),
        (True, case([SHARED], [PRIVATE, SHARED])),
        (True, case([PUBLIC, OLD], [PRIVATE, SHARED])),
        (True, case([SHARED], [SHARED], at=now - 200)),
        (False, case([OLD], [SHARED])),
        (False, case([], [SHARED])),
        (False, case([SHARED], [SHARED], body=BODY + b" ")),
        (False, case([PUBLIC], [PRIVATE], body=BODY + b" ")),
        (False, case([SHARED], [SHARED], at=now - 400)),
        (False, case([SHARED], [SHARED], at=now + 400)),
        (False, case([SHARED], [SHARED], webhook_id="evt_other")),
        (False, case([SHARED], [SHARED], webhook_timestamp=str(now - 1))),
        *[
            (False, case([SHARED, PUBLIC], [SHARED], webhook_signature=hostile))
            for hostile in ("", " ", ",", "v1", "v1,", "v1,a,b", "v1,!!!", "v1a,", "v1a,AAAA", "v2,AAAA", "garbage ü")
        ],
        *[
            (False, case([SHARED], [SHARED], webhook_timestamp=hostile))
            for hostile in ("", "x", "-1", "1e9", "9" * 30, "9" * 5000)
        ],
    ]
    assert verifier([each for _, each in expected]) == [fits for fits, _ in expected]


def test_the_vectors_of_the_page_are_what_we_sign() -> None:
    private = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
    table = vectors()
    (shared,) = [key for key in table if key.startswith("whsec_")]
    headers = signature_headers(ID, AT, BODY, [shared])
    assert table[shared] == headers["webhook-signature"]
    assert f"`{headers['X-Webhook-Signature']}`" in PAGE
    assert table[public_key(private) or ""] == signature_headers(ID, AT, BODY, [private])["webhook-signature"]


def test_openssl_finds_the_signatures_of_the_vectors(tmp_path: Path) -> None:
    shared = next(key for key in vectors() if key.startswith("whsec_"))
    (tmp_path / "body").write_bytes(BODY)
    said = run(["sh", "-eu", "-c", block("sh", 0)], tmp_path, secret=shared, id=ID, timestamp=str(AT))
    headers = signature_headers(ID, AT, BODY, [shared])
    assert said.split() == [headers["webhook-signature"], headers["X-Webhook-Signature"]]


def test_openssl_verifies_the_signature_of_a_key_pair(tmp_path: Path) -> None:
    public, signature = next(each for each in vectors().items() if each[0].startswith("whpk_"))
    (tmp_path / "body").write_bytes(BODY)
    said = run(
        ["sh", "-eu", "-c", block("sh", 1)], tmp_path, public_key=public, signature=signature, id=ID, timestamp=str(AT)
    )
    assert said.strip() == "Signature Verified Successfully"


async def test_the_receiver_of_the_readme_takes_what_is_sent_and_prints_it() -> None:
    source = re.search(r"python3 - <<'PY' &\n(.*?)\nPY\n", README, re.DOTALL)
    assert source
    program, server, _ = source[1].partition("HTTPServer((")
    assert server
    program += """server = HTTPServer(("127.0.0.1", 0), Receiver)
print(server.server_port, flush=True)
server.handle_request()"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=PIPE, stderr=DEVNULL)
    assert process.stdout
    port = int(await process.stdout.readline())
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.post(f"http://127.0.0.1:{port}/hooks", content=BODY, headers={"webhook-id": ID})
    assert answer.status_code == 204
    assert await process.stdout.readline() == ID.encode() + b" " + BODY + b"\n"
    assert await process.wait() == 0


async def test_curl_sends_what_a_library_verifies(tmp_path: Path) -> None:
    async with FakeReceiver() as receiver:
        command = ["sh", "-eu", "-c", block("sh", 2)]
        await asyncio.to_thread(run, command, tmp_path, secret=SHARED, url=receiver.url("ok"))
        (arrival,) = receiver.arrivals
    assert standardwebhooks.Webhook(SHARED).verify(arrival.body, arrival.headers)
    expected = signature_headers(
        arrival.headers["webhook-id"], int(arrival.headers["webhook-timestamp"]), arrival.body, [SHARED]
    )
    assert {name: arrival.headers[name.lower()] for name in expected} == expected
