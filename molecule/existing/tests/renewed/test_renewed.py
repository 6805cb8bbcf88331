"""Certificates of three control planes were renewed by a run while the API was asked."""

from __future__ import annotations

import ssl
import time

import pytest
from api_answers import LONGEST, STATE, gaps, problems, read
from cryptography import x509

PLANES = ["198.18.7.21", "198.18.7.22", "198.18.7.23"]
NODES = [*PLANES, "198.18.7.31", "198.18.7.32"]
MEMBERS = ["198.18.7.11", "198.18.7.12", "198.18.7.13"]


@pytest.mark.parametrize(
    ("address", "port", "authority"),
    [
        *((address, 6443, "kubernetes") for address in PLANES),
        *((address, 10250, "kubernetes") for address in NODES),
        *((address, 2379, "etcd") for address in MEMBERS),
    ],
)
def test_what_is_served_is_new(address: str, port: int, authority: str) -> None:
    pem = ssl.get_server_certificate((address, port), ca_certs=str(STATE / f"pki/{authority}/ca.crt"), timeout=10)
    certificate = x509.load_pem_x509_certificate(pem.encode())
    assert (certificate.not_valid_after_utc.timestamp() - time.time()) / 86400 > 300


def test_the_api_answered_all_the_time() -> None:
    answers = read("answers-renewed")
    assert len(answers) > 100
    assert gaps(answers, answers[0].asked, answers[-1].answered)[0] < LONGEST


def test_few_questions_had_to_be_repeated() -> None:
    found = problems(read("answers-renewed"))
    assert len(found) <= 10, found
