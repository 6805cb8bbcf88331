# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The certificate of the pages: when an authority is asked, what of its refusal is told, and who gets what it gives."""

from __future__ import annotations

import base64
import json
import socketserver
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.certificates import renewal
from ansible_collections.cicd.sandbox.plugins.module_utils.certificates.renewal import Keeper, authoritys_words, main
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

AUTHORITY = "https://127.0.0.1:14000/dir"
NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
# As certbot 2.1 of Debian bookworm says it, of Pebble.
REFUSED = """Saving debug log to /var/log/letsencrypt.log
Renewing an existing certificate for shop.localhost and 2 more domains

Certbot failed to authenticate some domains (authenticator: standalone). The Certificate Authority reported these \
problems:
  Domain: shop.localhost
  Type:   connection
  Detail: Get "http://shop.localhost:80/x": could not
  resolve URL
  Domain: b.localhost
  Type:   unauthorized
  Detail: The key authorization file did not match

Hint: The Certificate Authority failed to download the challenge files.

Some challenges have failed.
Ask for help or search for solutions at https://community.letsencrypt.org.
"""
REFUSED_WORDS = (
    'shop.localhost: connection: Get "http://shop.localhost:80/x": could not resolve URL;'
    " b.localhost: unauthorized: The key authorization file did not match"
)
UNKNOWN = """An unexpected error occurred:
requests.exceptions.ConnectionError: HTTPSConnectionPool(host='a', port=443): Max retries exceeded with url: /dir \
(Caused by NewConnectionError('<x>: Failed to establish a new connection: [Errno -2] Name or service not known'))
Ask for help
"""
AWAY = """Saving debug log to /var/log/letsencrypt.log
An unexpected error occurred:
ValueError: Requesting 127.0.0.1/dir: Connection refused
Ask for help or search for solutions at https://community.letsencrypt.org.
"""
STUMBLED = "An unexpected error occurred:\nAttributeError: can't set attribute\nAsk for help or search for solutions\n"
LIMITED = (
    "acme.messages.Error: urn:ietf:params:acme:error:rateLimited :: There were too many requests of a given type"
    " :: too many certificates (5) already issued for this exact set of domains\n"
)
FORGOTTEN = (
    "acme.messages.Error: urn:ietf:params:acme:error:accountDoesNotExist :: The request specified an account that does"
    " not exist :: Account https://127.0.0.1:14000/my-account/1 not found.\n"
)


class Host:
    """An infra host whose certbot gives what it is asked for, or says what it is told to."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.settings: dict[str, Any] = {
            "names": ["sandbox.localhost", "website.localhost"],
            "renew_before_days": 30,
            "authority": AUTHORITY,
            "certbot": ["certbot", "--config=/c.ini"],
            "directory": str(directory / "certbot"),
            "log": str(directory / "letsencrypt.log"),
            "state": str(directory / "state/state.json"),
            "authority_ca": "/ca.crt",
            "root_url": "",
            "private": True,
            "redirect": False,
            "haproxy": {
                "certificate": str(directory / "haproxy/tls/pages.pem"),
                "roots": str(directory / "haproxy/roots.pem"),
                "redirected": str(directory / "haproxy/https.map"),
                "socket": str(directory / "no.sock"),
            },
            "cluster": None,
        }
        self.asked: list[Sequence[str]] = []
        self.environments: list[Mapping[str, str]] = []
        self.reloads = 0
        # What certbot says and logs, instead of giving a certificate; the first is taken first.
        self.refusals: list[tuple[str, str]] = []
        self.days = 90
        self.trusted = True

    def __call__(self, line: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str]:
        if line[0] == "openssl":
            return (0 if self.trusted or "-CAfile" in line else 2), ""
        if line[0] == "systemctl":
            self.reloads += 1
            return 0, ""
        self.asked.append(line)
        self.environments.append(environment)
        if self.refusals:
            said, logged = self.refusals.pop(0)
            Path(self.settings["log"]).write_text(logged)
            return 1, said
        self.issue([name for word, name in pairwise(line) if word == "-d"], self.days)
        return 0, "Successfully received certificate."

    def issue(self, names: Sequence[str], days: float, valid: float | None = None) -> None:
        """Put a certificate where certbot has it, that ends in so many days and is valid for as many or for more."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pages")])
        end = NOW + days * DAY
        leaf = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(end - (valid or days) * DAY)
            .not_valid_after(end)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
            .sign(key, hashes.SHA256())
        )
        live = self.directory / "certbot/live/pages"
        live.mkdir(parents=True, exist_ok=True)
        (live / "fullchain.pem").write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
        private = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (live / "privkey.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, *private))
        self.from_authority(self.settings["authority"])

    def from_authority(self, url: str) -> None:
        conf = self.directory / "certbot/renewal/pages.conf"
        conf.parent.mkdir(parents=True, exist_ok=True)
        conf.write_text(f"version = 2.1.0\n[renewalparams]\nserver = {url}\naccount = 1\n")

    def keep(self, **words: bool) -> dict[str, Any]:
        return Keeper(self.settings, self).keep(NOW, **words)

    def served(self) -> str:
        return Path(self.settings["haproxy"]["certificate"]).read_text()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_what_is_good_is_not_asked_for_again(host: Host) -> None:
    first = host.keep()
    assert (first["changed"], first["valid"], first["names"]) == (True, True, host.settings["names"])
    assert [word for word in host.asked[0] if not word.startswith("--config")] == [
        *("certbot", "certonly", "--cert-name=pages", "--force-renewal", "--renew-with-new-domains"),
        *("-d", "sandbox.localhost", "-d", "website.localhost"),
    ]
    assert host.environments[0]["REQUESTS_CA_BUNDLE"] == "/ca.crt"
    again = host.keep()
    assert (again["changed"], len(host.asked), again["serial"]) == (False, 1, first["serial"])


def test_a_new_page_has_it_extended_and_one_that_went_does_not(host: Host) -> None:
    host.keep()
    host.settings["names"] = ["shop.localhost", *host.settings["names"]]
    assert host.keep()["reason"] == "the certificate is not for shop.localhost"
    assert len(host.asked) == 2
    host.settings["names"] = ["sandbox.localhost"]
    known = host.keep()
    assert (known["changed"], len(host.asked), "shop.localhost" in known["names"]) == (False, 2, True)


@pytest.mark.parametrize(
    ("days", "valid", "due"),
    [(31, 90, False), (29, 90, True), (-1, 90, True), (10, 15, False), (4, 15, True), (100, 400, False)],
)
def test_it_is_renewed_when_its_end_is_near(host: Host, days: int, valid: int, due: bool) -> None:
    host.issue(host.settings["names"], days, valid)
    assert (host.keep()["changed"], len(host.asked)) == (True, int(due))


def test_another_authority_is_asked_at_once(host: Host) -> None:
    host.keep()
    host.from_authority("https://acme-staging-v02.api.letsencrypt.org/directory")
    assert host.keep()["reason"] == "the certificate is from https://acme-staging-v02.api.letsencrypt.org/directory"


def test_check_asks_nobody_and_changes_nothing(host: Host) -> None:
    known = host.keep(check=True)
    assert (known["changed"], known["reason"], host.asked) == (True, "there is no certificate yet", [])
    assert list(host.directory.iterdir()) == []
    host.keep()
    assert host.keep(check=True)["changed"] is False
    host.issue(host.settings["names"], 90)
    # It came by hand, and nobody serves it yet.
    assert host.keep(check=True)["changed"] is True
    assert host.keep()["serial"] == host.keep()["serial"]


def test_an_authority_that_is_away_leaves_what_there_is(host: Host) -> None:
    host.issue(host.settings["names"], 12, 90)
    host.keep(ask=False)
    before = host.served()
    host.refusals = [(AWAY, "")]
    known = host.keep()
    assert known["problem"] == f"{AUTHORITY} does not answer: Connection refused"
    assert (known["valid"], known["days_left"], known["changed"]) == (True, 12, False)
    assert host.served() == before
    # Told until it went well, by whoever looks.
    assert json.loads(Path(host.settings["state"]).read_text())["problem"] == known["problem"]
    assert host.keep(ask=False)["problem"] == known["problem"]
    assert host.keep()["problem"] == ""


@pytest.mark.parametrize(
    ("said", "logged", "words"),
    [
        (
            REFUSED,
            "",
            REFUSED_WORDS,
        ),
        (
            STUMBLED,
            f"DEBUG: x\n{LIMITED}\nERROR: can't set attribute\n",
            "rateLimited: too many certificates (5) already issued for this exact set of domains",
        ),
        (AWAY, "", f"{AUTHORITY} does not answer: Connection refused"),
        (
            UNKNOWN,
            "",
            f"{AUTHORITY} does not answer: Name or service not known",
        ),
        ("An unexpected error occurred:\nThe CSR is odd ::  no\nAsk for help", "", "The CSR is odd :: no"),
        (
            "Saving debug log to x\nAnother instance of Certbot is already running.\n",
            "",
            "Another instance of Certbot is already running.",
        ),
        ("", "", "certbot gave no reason"),
    ],
)
def test_a_refusal_is_told_in_the_authoritys_words(said: str, logged: str, words: str) -> None:
    assert authoritys_words(said, logged, AUTHORITY) == words


def test_an_authority_that_lost_its_accounts_gets_a_new_one(host: Host) -> None:
    mine, others = (host.directory / f"certbot/accounts/{name}" for name in ("127.0.0.1:14000", "other.example"))
    for account in (mine, others):
        (account / "dir/1").mkdir(parents=True)
    host.refusals = [(STUMBLED, FORGOTTEN)]
    assert (host.keep()["problem"], len(host.asked)) == ("", 2)
    assert (mine.exists(), others.exists()) == (False, True)
    # Once.
    host.refusals = [(STUMBLED, FORGOTTEN)] * 2
    known = host.keep(forced=True)
    assert known["problem"].startswith("accountDoesNotExist: Account https://127.0.0.1:14000/my-account/1 not found")
    assert len(host.asked) == 4


def test_http_leads_to_https_only_where_visitors_are_not_warned(host: Host) -> None:
    host.settings |= {"redirect": True, "private": False}
    host.trusted = False
    host.settings["root_url"] = ""
    known = host.keep()
    # Nobody can verify what has no known root: it is said.
    assert "nobody can verify it" in known["undelivered"]
    assert (
        Path(host.settings["haproxy"]["redirected"]).exists() is False
        or not Path(host.settings["haproxy"]["redirected"]).read_text()
    )
    host.trusted = True
    assert host.keep()["undelivered"] == ""
    assert Path(host.settings["haproxy"]["redirected"]).read_text() == "sandbox.localhost 1\nwebsite.localhost 1\n"


def test_a_worker_that_begins_is_not_passed_over(host: Host, tmp_path: Path) -> None:
    """HAProxy reads its files for the root of the first certificate; the socket is the earlier worker's yet."""
    told: list[str] = []

    class Runtime(socketserver.StreamRequestHandler):
        """HAProxy's runtime API, of whichever worker still has the socket."""

        def handle(self) -> None:
            told.append(self.rfile.readline().decode().split(" <<")[0].strip())
            self.wfile.write(b"Success!")

    host.settings["haproxy"]["socket"] = str(tmp_path / "admin.sock")
    redirected = Path(host.settings["haproxy"]["redirected"])
    redirected.parent.mkdir(parents=True)
    redirected.touch()
    with socketserver.UnixStreamServer(str(tmp_path / "admin.sock"), Runtime) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host.keep()
        assert (told, host.reloads) == ([], 2)
        host.keep(forced=True)
        server.shutdown()
    assert host.reloads == 2
    assert [line.split()[0] for line in told] == ["show", "new", "set", "commit", "add"]


def test_the_key_is_for_its_owner_alone(host: Host) -> None:
    host.keep()
    path = Path(host.settings["haproxy"]["certificate"])
    assert path.stat().st_mode & 0o777 == 0o600
    assert host.served().index("CERTIFICATE") < host.served().index("PRIVATE KEY")


class SecretApi:
    """The gateway's Secret."""

    def __init__(self) -> None:
        self.data: dict[str, str] = {}
        self.calls: list[str] = []
        self.fails: OSError | None = None

    def __call__(
        self, _cluster: Mapping[str, str], method: str, url: str, body: Mapping[str, Any] | None = None
    ) -> Any:
        self.calls.append(f"{method} {url}")
        if self.fails:
            raise self.fails
        if body:
            self.data = dict(body["data"])
        return {"data": self.data}


@pytest.fixture
def api(host: Host, monkeypatch: pytest.MonkeyPatch) -> SecretApi:
    host.settings["cluster"] = {"server": "https://c:6443", "ca": "", "token": "", "namespace": "in", "secret": "pages"}
    one = SecretApi()
    monkeypatch.setattr(renewal, "_api", one)
    return one


def test_the_gateway_gets_it_once(host: Host, api: SecretApi) -> None:
    host.keep()
    url = "https://c:6443/api/v1/namespaces/in/secrets/pages"
    assert api.calls == [f"GET {url}", f"PATCH {url}"]
    assert base64.b64decode(api.data["tls.crt"]).decode() in host.served()
    assert base64.b64decode(api.data["tls.key"]).decode() in host.served()
    assert host.keep()["changed"] is False
    assert api.calls[2:] == [f"GET {url}"]
    # What somebody else has written there is put right.
    api.data = {"tls.crt": "", "tls.key": ""}
    assert host.keep(check=True)["changed"] is True
    assert host.keep()["changed"] is True


def test_a_cluster_that_does_not_answer_gets_it_later(host: Host, api: SecretApi) -> None:
    api.fails = ConnectionRefusedError(111, "Connection refused")
    known = host.keep()
    assert known["undelivered"] == (
        "the gateway has not got the certificate: Secret in/pages: the API server: [Errno 111] Connection refused"
    )
    # The load balancer's own visitors need not wait for it.
    assert host.served()
    api.fails = None
    assert (host.keep()["undelivered"], len(host.asked)) == ("", 1)


def test_exit_code_tells_whether_there_is_a_valid_one(
    host: Host, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = host.directory / "settings.json"
    file.write_text(json.dumps(host.settings))
    host.refusals = [(AWAY, "")]
    assert main([str(file)], host) == 1
    assert json.loads(capsys.readouterr().out)["problem"].endswith("does not answer: Connection refused")
    assert main([str(file)], host) == 0
    capsys.readouterr()
    assert main([str(file), "--force"], host) == 0
    assert json.loads(capsys.readouterr().out)["reason"] == "it was asked for"
    # Called by the certbot that this program runs itself, the hook has nothing to do.
    monkeypatch.setenv(renewal.HOLDS_LOCK, "1")
    assert main([str(file), "--deliver"], host) == 0
    assert capsys.readouterr().out == ""
