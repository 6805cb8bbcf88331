"""Asks an API server through the load balancer ten times a second, and writes down each answer.

Usage: ask.py KUBECONFIG CA LOG SECONDS: it ends after so many seconds, or when the file LOG.end is there, and then
makes LOG.ended. Each question is a connection of its own, with the certificate of the kubeconfig's user, for an object
that is read from etcd. A line of LOG is when the question was asked and answered, in seconds since 1970, and its
problem, "" where there was none.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import sys
import tempfile
import time
import urllib.parse
from pathlib import Path
from typing import Any

import yaml

INTERVAL = 0.1
PATIENCE = 10.0
QUESTION = "/api/v1/namespaces/kube-system"


def context(user: dict[str, Any], authority: str) -> ssl.SSLContext:
    """Trust the cluster's CA, and log in as the user."""
    made = ssl.create_default_context(cafile=authority)
    with tempfile.NamedTemporaryFile() as pair:
        for name in ("client-certificate-data", "client-key-data"):
            pair.write(base64.b64decode(user[name]) + b"\n")
        pair.flush()
        made.load_cert_chain(pair.name)
    return made


def ask(netloc: str, trust: ssl.SSLContext) -> str:
    """Ask once; give the problem there was."""
    connection = http.client.HTTPSConnection(netloc, timeout=PATIENCE, context=trust)
    try:
        connection.request("GET", QUESTION, headers={"Connection": "close"})
        answer = connection.getresponse()
        answer.read()
        return "" if answer.status == 200 else f"status {answer.status}"
    except (OSError, http.client.HTTPException) as error:
        return repr(error)
    finally:
        connection.close()


def main() -> None:
    kubeconfig, authority, log, seconds = sys.argv[1:]
    content = yaml.safe_load(Path(kubeconfig).read_text())
    netloc = urllib.parse.urlsplit(content["clusters"][0]["cluster"]["server"]).netloc
    trust = context(content["users"][0]["user"], authority)
    end = time.monotonic() + float(seconds)
    Path(f"{log}.ended").unlink(missing_ok=True)
    with Path(log).open("w", buffering=1) as lines:
        while time.monotonic() < end and not Path(f"{log}.end").exists():
            began = time.time()
            problem = ask(netloc, trust)
            lines.write(json.dumps({"asked": began, "answered": time.time(), "problem": problem}) + "\n")
            time.sleep(max(0.0, INTERVAL - (time.time() - began)))
    Path(f"{log}.ended").touch()


if __name__ == "__main__":
    main()
