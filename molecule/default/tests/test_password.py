"""Another password of a database that lives: no request fails, and it is the one that counts afterwards."""

from __future__ import annotations

import os
from pathlib import Path

from helm import try_run
from site_run import changes
from visitors import kubeconfig, kubectl, pods, visitors

FILE = Path(os.environ["SANDBOX_STATE_DIRECTORY"]) / "secrets/postgresql-password"
NEW = "a-new-one-of-the-users"


def query(password: str) -> list[str]:
    """Ask the database by TCP, as clients do."""
    psql = ["psql", "--host=127.0.0.1", "--username=quotes", "--dbname=quotes", "--no-align", "--tuples-only"]
    return ["exec", "postgresql-0", "--", "env", f"PGPASSWORD={password}", *psql, "--command=SELECT 1"]


def test_a_new_password_loses_no_request() -> None:
    before = {name: pods(name).keys() for name in ("postgresql", "business-logic", "front-end")}
    FILE.write_text(f"{NEW}\n")
    with visitors():
        assert changes("--tags", "apps") != []
        # What was made of the new password alone.
        kubectl("rollout", "restart", "deployment/business-logic")
        kubectl("rollout", "status", "deployment/business-logic", "--timeout=120s")
    assert pods("postgresql").keys() == before["postgresql"]
    assert pods("front-end").keys() == before["front-end"]
    assert "was changed from an earlier one" in kubectl("logs", "--selector=app.kubernetes.io/name=postgresql-password")
    assert kubectl(*query(NEW)).strip() == "1"
    refused = try_run("kubectl", "--kubeconfig", str(kubeconfig()), "--namespace=apps", *query("another"))
    assert "password authentication failed" in refused.stderr
