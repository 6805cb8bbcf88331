# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plain secrets, which the real gitleaks has to refuse: by the script, and before git takes a commit.

What is planted is put together here, so that this file has none.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from checkout import REPOSITORY, files
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from helm import tool

SCRIPT = "scripts/no-secrets.sh"
GROUP = "inventories/dev/group_vars/all"
PASSWORD = "h8nter2-" + "xyz"
VAULT = "$ANSIBLE_VAULT;1.1;AES256\n62313365396662343061393464336163383764373764613633653634306231386433626436623361\n"


def private_key(kind: PrivateFormat) -> str:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, kind, NoEncryption()).decode()


# Name of a file → what is planted in it, the line that has it, the rule that finds it.
PLANTED = {
    "pki/ca.key": (private_key(PrivateFormat.PKCS8), 1, "private-key"),
    "id_ecdsa": ("\n\n" + private_key(PrivateFormat.OpenSSH), 3, "private-key"),
    "keys.txt": ("# public\nAGE-SECRET-KEY-1" + "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L" * 2 + "\n", 2, "age-secret-key"),
    "ci.env": ("REGION=eu\nGITHUB_TOKEN=ghp_" + "x7Kq2Lm9Pz4Rt8Vb3Nc6Wd1Fg5Hj0Sa2Ye9U\n", 2, "github-pat"),
    "charts/values.yaml": ("aws: AKIA" + "QWERTYUIOPASDFGH\n", 1, "aws-access-token"),
    # In inventories any value of such a key is one, however weak it is.
    f"{GROUP}/mail.yml": (f"---\nmail_host: mail\nmail_password: {PASSWORD}\n", 3, "plain-password"),
    f"{GROUP}/quoted.yml": (f'db:\n  "Admin_Password" : "{PASSWORD}"  # for now\n', 2, "plain-password"),
    f"{GROUP}/block.yml": (f"api_token: |\n  {PASSWORD}\n", 1, "plain-password"),
    f"{GROUP}/below.yml": (f"api_token:\n  {PASSWORD}\n", 1, "plain-password"),
    f"{GROUP}/number.yml": ("door_secret: 12345\n", 1, "plain-password"),
    f"{GROUP}/list.yml": (f"users:\n  - {{name: jo, password: {PASSWORD}}}\n", 2, "plain-password"),
    f"{GROUP}/second.yml": (f"users: {{a_token: !vault x, b_token: '{PASSWORD}'}}\n", 1, "plain-password"),
    f"{GROUP}/commented.yml": (f"# mail_passphrase: {PASSWORD}\n", 1, "plain-password"),
    "inventories/lab/hosts": (f"[infra]\ninfra-1 ansible_user=jo ansible_password={PASSWORD}\n", 2, "plain-password"),
    "inventories/lab/host_vars/infra-1.json": (f'{{"become": {{"sudo_password":"{PASSWORD}"}}}}', 1, "plain-password"),
    f"{GROUP}/mail.sops.yml": (f"mail:\n  - {PASSWORD}\n", 2, "sops-not-encrypted"),
    f"{GROUP}/nested.sops.yml": (f"mail:\n  login:\n    word: {PASSWORD}\n", 3, "sops-not-encrypted"),
}
SOPS = """mail_password: ENC[AES256_GCM,data:LDTkZw==,iv:2sUrdjyA8Hvn1Kmsdbm9MHaiLhQyQGvSRMhMSxfRb0U=,tag:vkQ4,type:str]
mail_host_unencrypted: mail
mail_user: ""
users:
    - ENC[AES256_GCM,data:LDTkZw==,iv:2sUrdjyA8Hvn1Kmsdbm9MHaiLhQyQGvSRMhMSxfRb0U=,tag:vkQ4,type:str]
    - password: ENC[AES256_GCM,data:LDTkZw==,iv:2sUrdjyA8Hvn1Kmsdbm9MHaiLhQyQGvSRMhMSxfRb0U=,tag:vkQ4,type:str]
sops:
    age:
        - recipient: age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p
          enc: |
            -----BEGIN AGE ENCRYPTED FILE-----
            YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSBSdXBkSkZGTWs4Z1lKYkRz
            -----END AGE ENCRYPTED FILE-----
    lastmodified: "2026-11-30T12:00:00Z"
    mac: ENC[AES256_GCM,data:LDTkZw==,iv:2sUrdjyA8Hvn1Kmsdbm9MHaiLhQyQGvSRMhMSxfRb0U=,tag:vkQ4,type:str]
    unencrypted_suffix: _unencrypted
    version: 3.13.3
"""
FINE = {
    f"{GROUP}/vault.yml": VAULT,
    f"{GROUP}/value.yml": "mail_password: !vault |\n  " + VAULT.replace("\n", "\n  ").rstrip() + "\nmail_host: mail\n",
    f"{GROUP}/mail.sops.yml": SOPS,
    f"{GROUP}/looked_up.yml": "mail_password: \"{{ lookup('ansible.builtin.file', '~/.mail') | trim }}\"\n"
    "mail_token: >-\n  {{ lookup('ansible.builtin.env', 'MAIL_TOKEN') }}\nsame_password: '{{ mail_password }}'\n",
    f"{GROUP}/empty.yml": "a_password:\nb_password: ''\nc_token: null\nd_token: ~\ne: {f_secret: \"\", g: 1}\n",
    f"{GROUP}/other.yml": "mail_password_file: /etc/mail\ntoken_minutes: 30\nhello_secret: {length: 24}\n"
    "mail_secret:\n  name: mail\nkeep_when: \"{{ 'x' if mail_token == 'y' else 'z' }}\"\n",
    ".sops.yaml": "creation_rules:\n  - path_regex: \\.sops\\.ya?ml$\n    age:\n      - age1ql3z7hjy54pw3hyww5ay\n",
    # What is plain elsewhere, and weak, is an example.
    "docs/example.md": "mail_password: hello\n",
}


def git(folder: Path, *arguments: str, path: str | None = None, code: int = 0) -> str:
    """Run git as somebody who has settings that change what it shows."""
    environment = {
        "PATH": path or os.environ["PATH"],
        "HOME": str(folder.parent),
        "GIT_CONFIG_GLOBAL": str(folder.parent / "gitconfig"),
        "GITLEAKS_BINARY": tool("gitleaks"),
        "PRE_COMMIT_HOME": str(folder.parent / "pre-commit"),
    }
    line = ["git", *arguments]
    done = subprocess.run(line, check=False, capture_output=True, text=True, cwd=folder, env=environment)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with what refuses, and one commit."""
    folder = tmp_path / "checkout"
    scripts = (SCRIPT, "scripts/environment.sh", "scripts/program.sh")
    for name in (*scripts, ".gitleaks.toml", ".pre-commit-config.yaml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, folder / name)
    (tmp_path / "gitconfig").write_text(
        "[user]\nname = jo\nemail = jo@example.org\n[color]\nui = always\n[diff]\nnoprefix = true\nexternal = false\n"
        "[commit]\nverbose = true\n[init]\ndefaultBranch = trunk\n"
    )
    (folder / ".gitignore").write_text("/ignored\n")
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=Begin")
    return folder


def write(folder: Path, contents: dict[str, str]) -> None:
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


def refuse(folder: Path, *arguments: str, code: int = 1, **environment: str) -> tuple[set[str], str]:
    """Run the script, which has to end with `code`; give file:line: rule of what it found, and all that it said."""
    done = subprocess.run(
        [str(folder / SCRIPT), *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder.parent,
        env={**os.environ, "GITLEAKS_BINARY": tool("gitleaks"), "HOME": str(folder.parent), **environment},
    )
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    return {": ".join(line.split(": ")[:2]) for line in done.stdout.splitlines()}, said


def expected() -> set[str]:
    return {f"{name}:{line}: {rule}" for name, (_, line, rule) in PLANTED.items()}


def secrets() -> set[str]:
    """All lines of what is planted that have a secret in them, by the longest word."""
    lines = [line for content, _, _ in PLANTED.values() for line in content.splitlines() if "-----" not in line]
    return {max(line.split(), key=len) for line in lines if len(line) > 30}


@pytest.mark.parametrize("how", ["--staged", "unstaged", "committed", "removed"])
def test_each_kind_of_plain_secret_is_refused(checkout: Path, how: str) -> None:
    write(checkout, {name: content for name, (content, _, _) in PLANTED.items()})
    if how != "unstaged":
        git(checkout, "add", "--all")
    if how in ("committed", "removed"):
        git(checkout, "commit", "--quiet", "--message=Plant")
    if how == "removed":
        git(checkout, "rm", "--quiet", "-r", *PLANTED)
        git(checkout, "commit", "--quiet", "--message=Think better of it")
    found, said = refuse(checkout, *[how] * (how == "--staged"))
    assert found >= expected()
    # Some are found by a general rule as well, at the same place.
    assert {item.partition(": ")[0] for item in found} == {item.partition(": ")[0] for item in expected()}
    assert not [secret for secret in secrets() | {PASSWORD} if secret in said]
    assert "docs/how-to/secrets-in-git.md" in said
    assert ("(commit " in said) is (how in ("committed", "removed"))
    assert ("Nothing was committed" if how == "--staged" else "change the secret where it counts") in said


def test_what_is_encrypted_looked_up_or_empty_passes(checkout: Path) -> None:
    write(checkout, FINE)
    assert refuse(checkout, code=0) == (set(), "")
    git(checkout, "add", "--all")
    assert refuse(checkout, "--staged", code=0) == (set(), "")


def test_what_git_is_told_to_ignore_and_what_is_not_staged_is_not_looked_at(checkout: Path) -> None:
    write(checkout, {"ignored/ca.key": PLANTED["pki/ca.key"][0], "new.key": PLANTED["pki/ca.key"][0]})
    assert refuse(checkout, "--staged", code=0) == (set(), "")
    assert refuse(checkout)[0] == {"new.key:1: private-key"}
    # It leaves nothing in the repository.
    assert git(checkout, "status", "--porcelain") == "?? new.key\n"
    assert git(checkout, "fsck", "--unreachable") == ""


def test_no_comment_and_no_list_of_findings_excepts_anything(checkout: Path) -> None:
    write(checkout, {"settings.yml": PLANTED["charts/values.yaml"][0].rstrip() + "  # gitleaks:allow\n"})
    assert refuse(checkout)[0] == {"settings.yml:1: aws-access-token"}
    write(checkout, {".gitleaksignore": "settings.yml:aws-access-token:1\n"})
    assert "without a reason: move them to .gitleaks.toml" in refuse(checkout, code=2)[1]
    assert files(".gitleaksignore") == []


def test_what_a_merge_brings_is_looked_at(checkout: Path) -> None:
    write(checkout, {"hosts.yml": "a: 1\n"})
    git(checkout, "add", "--all")
    git(checkout, "commit", "--quiet", "--message=One")
    git(checkout, "checkout", "--quiet", "-b", "side", "HEAD~1")
    write(checkout, {"hosts.yml": "a: 2\n"})
    git(checkout, "add", "--all")
    git(checkout, "commit", "--quiet", "--message=Two")
    git(checkout, "merge", "trunk", code=1)
    # In no commit but the merge, and gone by the next.
    write(checkout, {"hosts.yml": PLANTED["charts/values.yaml"][0]})
    git(checkout, "add", "--all")
    git(checkout, "commit", "--quiet", "--message=Both")
    write(checkout, {"hosts.yml": "a: 3\n"})
    git(checkout, "commit", "--quiet", "--all", "--message=Three")
    assert refuse(checkout)[0] == {"hosts.yml:1: aws-access-token"}


def test_a_folder_without_a_repository_is_looked_at_as_well(checkout: Path) -> None:
    shutil.rmtree(checkout / ".git")
    assert refuse(checkout, code=0) == (set(), "")
    write(checkout, {"pki/ca.key": PLANTED["pki/ca.key"][0]})
    assert refuse(checkout)[0] == {"pki/ca.key:1: private-key"}


def test_who_could_not_look_says_so(checkout: Path, tmp_path: Path) -> None:
    assert "make tools TOOLS=gitleaks" in refuse(checkout, code=2, GITLEAKS_BINARY="/nonexistent")[1]
    assert "what is '--stagd'?" in refuse(checkout, "--stagd", code=2)[1]
    (checkout / ".gitleaks.toml").write_text("[[rules]\n")
    assert "has not looked at all" in refuse(checkout, code=2)[1]
    shutil.copy(REPOSITORY / ".gitleaks.toml", checkout)
    (checkout / ".git/HEAD").write_text("nonsense\n")
    assert "can't read the history" in refuse(checkout, code=2)[1]


def test_git_takes_no_commit_with_a_plain_secret(checkout: Path) -> None:
    """By pre-commit, as `make hooks` installs it: what is staged, all that has changed, one file, a merge."""
    installed = subprocess.run(
        ["pre-commit", "install"],
        check=False,
        capture_output=True,
        text=True,
        cwd=checkout,
        env={**os.environ, "HOME": str(checkout.parent), "PRE_COMMIT_HOME": str(checkout.parent / "pre-commit")},
    )
    assert installed.returncode == 0, installed.stderr
    name = f"{GROUP}/mail.yml"
    begun = git(checkout, "rev-parse", "HEAD")
    write(checkout, {name: PLANTED[name][0]})
    git(checkout, "add", "--all")
    said = git(checkout, "commit", "--message=Plant", code=1)
    assert f"{name}:3: plain-password: a password, token or secret stands plain in an inventory" in said
    assert "Nothing was committed" in said
    assert PASSWORD not in said
    assert git(checkout, "rev-parse", "HEAD") == begun

    write(checkout, {name: FINE[f"{GROUP}/value.yml"]})
    git(checkout, "add", "--all")
    assert "No plain secrets" in git(checkout, "commit", "--message=Encrypt")
    done = git(checkout, "rev-parse", "HEAD")
    assert done != begun
    write(checkout, {name: PLANTED[name][0]})
    # git has an index of its own for each of these.
    assert f"{name}:3: plain-password" in git(checkout, "commit", "--all", "--message=Plant", code=1)
    assert f"{name}:3: plain-password" in git(checkout, "commit", "--message=Plant", name, code=1)
    assert git(checkout, "rev-parse", "HEAD") == done

    # What somebody has committed without the hook.
    git(checkout, "checkout", "--quiet", "-b", "side")
    git(checkout, "commit", "--quiet", "--all", "--no-verify", "--message=Plant")
    git(checkout, "checkout", "--quiet", "trunk")
    said = git(checkout, "merge", "--no-ff", "--no-edit", "side", code=1)
    assert f"{name}:3: plain-password" in said


def test_the_hook_and_ci_call_the_same_script() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    assert "lint-secrets" in makefile.partition("\nlint: venv")[2].partition("\n\n")[0]
    assert f"\t{SCRIPT}" in makefile.partition("\nlint-secrets:")[2].partition("\n\n")[0].splitlines()
    assert f"entry: {SCRIPT} --staged\n" in (REPOSITORY / ".pre-commit-config.yaml").read_text()


def test_this_repository_and_its_history_have_none() -> None:
    assert refuse(REPOSITORY, code=0) == (set(), "")
