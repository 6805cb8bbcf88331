"""Other passwords of databases that live: no request fails, and they are the ones that count afterwards."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from helm import try_run
from site_run import changes
from visitors import kubeconfig, kubectl, pods, until, visitors
from watchers import watching

SECRETS = Path(os.environ["SANDBOX_STATE_DIRECTORY"]) / "secrets"
DATABASES = ("postgresql", "valkey")
NEW = "a-new-one-of-the-users"


def query(database: str, password: str) -> list[str]:
    """Ask a database by TCP, as clients do."""
    if database == "valkey":
        client = ["valkey-cli", "--user", "quotes", "--no-auth-warning", "-e", "XINFO", "STREAM", "quotes:events"]
        return ["exec", "valkey-0", "--", "env", f"VALKEYCLI_AUTH={password}", f"REDISCLI_AUTH={password}", *client]
    psql = ["psql", "--host=127.0.0.1", "--username=quotes", "--dbname=quotes", "--no-align", "--tuples-only"]
    return ["exec", "postgresql-0", "--", "env", f"PGPASSWORD={password}", *psql, "--command=SELECT 1"]


def ask(database: str, password: str) -> subprocess.CompletedProcess[str]:
    line = ["--kubeconfig", str(kubeconfig()), "--namespace=apps", *query(database, password)]
    return try_run("kubectl", *line)


def test_new_passwords_lose_no_request() -> None:
    before = {name: pods(name).keys() for name in (*DATABASES, "business-logic", "front-end")}
    old = {name: (SECRETS / f"{name}-password").read_text().strip() for name in DATABASES}
    assert {name: ask(name, password).returncode for name, password in old.items()} == dict.fromkeys(DATABASES, 0)
    for name in DATABASES:
        (SECRETS / f"{name}-password").write_text(f"{NEW}\n")
    with watching(5, "NONE") as watchers, visitors():
        until(lambda: all(watcher.live for watcher in watchers), "visitors watch", 30)
        assert changes("--tags", "apps") != []
        # What was made of the new password alone.
        kubectl("rollout", "restart", "deployment/business-logic")
        kubectl("rollout", "status", "deployment/business-logic", "--timeout=120s")
    # Their streams stay, whichever pod of the API the website has them from.
    assert [watcher.outages for watcher in watchers] == [[]] * len(watchers)
    for name in (*DATABASES, "front-end"):
        assert pods(name).keys() == before[name]
    for name in DATABASES:
        told = kubectl("logs", f"--selector=app.kubernetes.io/name={name}-password", "--container", f"{name}-password")
        assert "was changed from an earlier one" in told
        assert ask(name, NEW).returncode == 0
    refused = ask("postgresql", "another")
    assert "password authentication failed" in refused.stderr
    refused = ask("valkey", old["valkey"])
    assert (refused.returncode, "WRONGPASS" in refused.stdout + refused.stderr) == (1, True)
