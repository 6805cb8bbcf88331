# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets of an inventory that are in git: encrypted by the real sops to keys of age's, read by the real Ansible."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from checkout import REPOSITORY, load
from helm import CACHE, tool

SCRIPTS = ("environment.sh", "program.sh", "secrets-key.sh", "sops.sh", "no-secrets.sh")
ALL = "inventories/lab/group_vars/all/mail.sops.yml"
WORKERS = "inventories/lab/group_vars/workers.sops.yml"
PASSWORD = "h8nter2-" + "xyz"
PLAY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.copy:
        content: "{{ mail_password }} {{ plain }}"
        dest: "{{ playbook_dir }}/said"
        mode: "0600"
"""


@dataclass(frozen=True)
class Checkout:
    """A user's own, and the home of a user."""

    folder: Path
    home: Path
    # Variable that names a program → its path.
    programs: dict[str, str] = field(default_factory=dict)

    @property
    def keys(self) -> Path:
        return self.home / ".config/sops/age/keys.txt"

    def run(self, *line: str, code: int | None = 0, **environment: str) -> str:
        """Run a program in the checkout; give all that it said."""
        unset = {"XDG_CONFIG_HOME", "SOPS_AGE_KEY_FILE", "SOPS_AGE_KEY"}
        own = {
            "HOME": str(self.home),
            # Another run of the real sandbox may be going on.
            "ANSIBLE_CALLBACKS_ENABLED": "ansible.posix.timer",
        }
        kept = {name: value for name, value in os.environ.items() if name not in unset}
        whole = kept | own | self.programs | environment
        done = subprocess.run(line, check=False, capture_output=True, text=True, cwd=self.folder, env=whole)
        assert code in (None, done.returncode), done.stdout + done.stderr
        return done.stdout + done.stderr

    def write(self, name: str, content: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path

    def edit(self, name: str, content: str) -> str:
        """Have sops' editor put something into a file, which is plain only while the editor has it."""
        (self.home / "wanted").write_text(content)
        editor = self.home / "editor"
        editor.write_text(f'#!/bin/sh\ncat "{self.home}/wanted" >"$1"\n')
        editor.chmod(0o755)
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        return self.run("scripts/sops.sh", "edit", name, EDITOR=str(editor))

    def public(self, keys: Path) -> str:
        return self.run(self.programs["AGE_KEYGEN_BINARY"], "-y", str(keys)).strip()

    def key(self, path: Path) -> Path:
        """Make somebody else's key."""
        self.run(self.programs["AGE_KEYGEN_BINARY"], "-o", str(path))
        return path

    def recipients(self, *public: str) -> None:
        rule = {"path_regex": r"\.sops\.ya?ml$", "age": list(public)}
        self.write(".sops.yaml", json.dumps({"creation_rules": [rule]}))


def program(variable: str, name: str) -> str:
    """Find a program; a test without it is left out, and says so: sops takes minutes to build."""
    try:
        return tool(name)
    except pytest.fail.Exception:
        if os.environ.get(variable):
            raise
        pytest.skip(f"{name} is neither on PATH nor in {CACHE}: make tools TOOLS=sops,age makes it")


@pytest.fixture
def bare(tmp_path: Path) -> Checkout:
    """A checkout without anybody's key, on a computer without sops."""
    made = Checkout(tmp_path / "checkout", tmp_path / "home")
    made.home.mkdir()
    for name in SCRIPTS:
        (made.folder / "scripts").mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / "scripts" / name, made.folder / "scripts")
    shutil.copy(REPOSITORY / ".gitleaks.toml", made.folder)
    hosts = "all: {hosts: {localhost: {ansible_connection: local}}, children: {workers: {hosts: {worker-1: {}}}}}\n"
    made.write("inventories/lab/hosts.yml", hosts)
    return made


@pytest.fixture
def checkout(bare: Checkout) -> Checkout:
    """The same where sops is."""
    named = {"SOPS_BINARY": "sops", "AGE_KEYGEN_BINARY": "age-keygen"}
    programs = {variable: program(variable, name) for variable, name in named.items()}
    return replace(bare, programs={**programs, "GITLEAKS_BINARY": tool("gitleaks")})


@pytest.fixture
def encrypted(checkout: Checkout) -> Checkout:
    """The same with a key, and values that are encrypted to it."""
    checkout.run("scripts/secrets-key.sh")
    checkout.edit(ALL, f"# Our mail.\nmail_password: {PASSWORD}\nmail_user: ''\nmail_ports: [25]\nplain: no more\n")
    checkout.write("inventories/lab/group_vars/all/a.yml", "plain: still\nmail_host: mail\n")
    checkout.write("play.yml", PLAY)
    return checkout


def test_a_key_is_made_once_outside_of_the_checkout(checkout: Checkout) -> None:
    said = checkout.run("scripts/secrets-key.sh")
    assert f"Made {checkout.keys}. Keep a copy" in said
    assert [path.stat().st_mode & 0o777 for path in (checkout.keys, checkout.keys.parent)] == [0o600, 0o700]
    public = checkout.public(checkout.keys)
    assert load(checkout.folder / ".sops.yaml")["creation_rules"][0]["age"] == [public]
    assert (checkout.folder / ".sops.yaml").stat().st_mode & 0o777 == 0o644
    assert "AGE-SECRET-KEY" not in said
    before = [path.read_bytes() for path in (checkout.keys, checkout.folder / ".sops.yaml")]
    assert checkout.run("scripts/secrets-key.sh") == f"Yours is {public}; .sops.yaml has it.\n"
    assert [path.read_bytes() for path in (checkout.keys, checkout.folder / ".sops.yaml")] == before


def test_a_key_that_is_there_is_taken_if_nobody_else_reads_it(checkout: Checkout, tmp_path: Path) -> None:
    mine = checkout.key(tmp_path / "mine.txt")
    mine.chmod(0o640)
    said = checkout.run("scripts/secrets-key.sh", code=1, SOPS_AGE_KEY_FILE=str(mine))
    assert f"others can read {mine} (0640): chmod 600 {mine}" in said
    mine.chmod(0o600)
    checkout.recipients("age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p")
    said = checkout.run("scripts/secrets-key.sh", code=1, SOPS_AGE_KEY_FILE=str(mine))
    assert f"yours is {checkout.public(mine)}, which .sops.yaml does not have" in said
    assert "scripts/sops.sh updatekeys FILE" in said
    said = checkout.run("scripts/secrets-key.sh", code=1, SOPS_AGE_KEY_FILE="keys.txt")
    assert "is in the checkout, and would be in git one day" in said
    assert not (checkout.folder / "keys.txt").exists()
    assert not checkout.keys.exists()


def test_nothing_plain_is_in_git(encrypted: Checkout) -> None:
    text = (encrypted.folder / ALL).read_text()
    assert [word for word in (PASSWORD, "no more", "Our mail", "AGE-SECRET-KEY") if word in text] == []
    assert re.search(r"^mail_password: ENC\[AES256_GCM,", text, re.MULTILINE)
    # The scanner that looks at commits takes what the real sops has written.
    assert encrypted.run("scripts/no-secrets.sh") == ""
    assert "File has not changed" in encrypted.run("scripts/sops.sh", "edit", ALL, EDITOR="true")
    assert (encrypted.folder / ALL).read_text() == text


def test_runs_read_it_after_what_is_plain(encrypted: Checkout) -> None:
    encrypted.edit("inventories/lab/host_vars/worker-1.sops.yml", "mail_password: another\n")
    shown = json.loads(encrypted.run("ansible-inventory", "-i", "inventories/lab", "--list"))["_meta"]["hostvars"]
    values = {host: [variables[name] for name in ("mail_password", "plain")] for host, variables in shown.items()}
    assert values == {"localhost": [PASSWORD, "no more"], "worker-1": ["another", "no more"]}
    assert [shown["localhost"][name] for name in ("mail_user", "mail_ports", "mail_host")] == ["", [25], "mail"]
    said = encrypted.run("ansible-playbook", "-i", "inventories/lab", "play.yml")
    assert (encrypted.folder / "said").read_text() == f"{PASSWORD} no more"
    assert PASSWORD not in said


def test_what_is_missing_is_said_before_the_first_task(encrypted: Checkout, tmp_path: Path) -> None:
    """Also where it is of a group that the play has no host of."""
    other = encrypted.key(tmp_path / "other.txt")
    owner = encrypted.public(encrypted.keys)
    encrypted.edit(WORKERS, "worker_password: x\n")
    (encrypted.folder / ALL).unlink()
    encrypted.write("play.yml", PLAY.replace("{{ mail_password }} {{ plain }}", "ran"))
    line = ["ansible-playbook", "-i", "inventories/lab", "play.yml"]
    encrypted.run(*line)
    (encrypted.folder / "said").unlink()

    for environment, words in (
        (
            {"SOPS_AGE_KEY_FILE": "/nonexistent/keys.txt"},
            "/nonexistent/keys.txt, which has this computer's key, is mis",
        ),
        ({"SOPS_AGE_KEY_FILE": str(other)}, f"{other} has the key of {encrypted.public(other)}."),
        ({"SOPS_BINARY": "/nonexistent/sops"}, "/nonexistent/sops is not there: make tools TOOLS=sops makes it"),
    ):
        # sops also takes the key that is in a home.
        said = encrypted.run(*line, code=4, HOME=str(tmp_path), **environment)
        assert words in said
        assert f"file {encrypted.folder / WORKERS}" in said
        if "SOPS_BINARY" not in environment:
            assert f"{encrypted.folder / WORKERS} is encrypted to {owner}." in said
            assert "have somebody who has one let yours in: docs/how-to/secrets-in-git.md" in said
        assert not (encrypted.folder / "said").exists()


def test_a_file_that_somebody_forgot_to_encrypt_is_refused(encrypted: Checkout) -> None:
    encrypted.write(WORKERS, f"worker_password: {PASSWORD}\n")
    said = encrypted.run("ansible-playbook", "-i", "inventories/lab", "play.yml", code=4)
    assert f"file {encrypted.folder / WORKERS} is not encrypted" in said
    assert PASSWORD not in said
    assert f"{WORKERS}:1: sops-not-encrypted" in encrypted.run("scripts/no-secrets.sh", code=1)


def test_another_key_is_let_in_and_the_first_one_shut_out(encrypted: Checkout, tmp_path: Path) -> None:
    new = encrypted.key(tmp_path / "new.txt")
    owner, other = encrypted.public(encrypted.keys), encrypted.public(new)
    # sops also takes the key that is in a home.
    theirs = {"SOPS_AGE_KEY_FILE": str(new), "HOME": str(tmp_path)}
    decrypt = ["scripts/sops.sh", "decrypt", ALL]
    assert f"{ALL} is encrypted to {owner}." in encrypted.run(*decrypt, code=128, **theirs)

    encrypted.recipients(owner, other)
    encrypted.run("scripts/sops.sh", "updatekeys", "--yes", ALL)
    assert encrypted.run(*decrypt, **theirs) == encrypted.run(*decrypt)

    before = (encrypted.folder / ALL).read_text()
    encrypted.recipients(other)
    encrypted.run("scripts/sops.sh", "updatekeys", "--yes", ALL, **theirs)
    encrypted.run("scripts/sops.sh", "rotate", "--in-place", ALL, **theirs)
    assert PASSWORD in encrypted.run(*decrypt, **theirs)
    assert f"{ALL} is encrypted to {other}." in encrypted.run(*decrypt, code=128)
    # The values are encrypted anew as well: who has kept the old key of the file reads nothing of now.
    value = re.compile(r"^mail_password: .*$", re.MULTILINE)
    assert value.findall(before) != value.findall((encrypted.folder / ALL).read_text())
    encrypted.run("ansible-inventory", "-i", "inventories/lab", "--list", **theirs)


def test_nothing_is_called_where_there_is_nothing_encrypted(bare: Checkout, tmp_path: Path) -> None:
    called = tmp_path / "sops"
    called.write_text(f"#!/bin/sh\ntouch {tmp_path}/called\nexit 1\n")
    called.chmod(0o755)
    bare.write("inventories/lab/group_vars/all/a.yml", "plain: still\n")
    line = ["ansible-inventory", "-i", "inventories/lab", "--list"]
    bare.run(*line, SOPS_BINARY=str(called))
    assert not (tmp_path / "called").exists()
    bare.write(ALL, "mail_password: ENC[\n")
    bare.run(*line, code=None, SOPS_BINARY=str(called))
    assert (tmp_path / "called").exists()
