# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scripts behind make: what they say when something is missing or fails."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.host.environment import names_another_cluster, tidied
from checkout import REPOSITORY, load

Programs = Callable[..., Path]


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    """Give a maker of a directory that is a whole PATH: a few real programs, and the ones a test scripts."""

    def make(**scripts: str) -> Path:
        folder = tmp_path / "bin"
        folder.mkdir()
        for name in ("bash", "cat", "date", "dirname", "make", "sed"):
            (folder / name).symlink_to(str(shutil.which(name)))
        for name, script in scripts.items():
            program = folder / name.replace("_", "-")
            program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
            program.chmod(0o755)
        return folder

    return make


def script(name: str, *arguments: str, path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(REPOSITORY / "scripts" / name), *arguments],
        env={"PATH": str(path), "HOME": "/nonexistent", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


USER = "case $1 in -u) echo 1000 ;; *) echo jo ;; esac"
PLAYBOOK = 'echo "played: $*"'


def test_root_plays_without_sudo(programs: Programs) -> None:
    done = script("playbook.sh", "site.yml", "-i", "inventory", path=programs(id="echo 0", ansible_playbook=PLAYBOOK))
    assert (done.returncode, done.stdout) == (0, "played: site.yml -i inventory\n")


def test_user_whose_sudo_asks_nothing_plays(programs: Programs) -> None:
    done = script("playbook.sh", "site.yml", path=programs(id=USER, sudo="exit 0", ansible_playbook=PLAYBOOK))
    assert (done.returncode, done.stdout) == (0, "played: site.yml\n")


def test_missing_sudo_is_said(programs: Programs) -> None:
    done = script("playbook.sh", "site.yml", path=programs(id=USER, ansible_playbook=PLAYBOOK))
    assert done.returncode == 1
    assert done.stdout == ""
    assert "install sudo and let jo use it" in done.stderr


def test_password_without_a_terminal_is_said(programs: Programs) -> None:
    done = script("playbook.sh", "site.yml", path=programs(id=USER, sudo="exit 1", ansible_playbook=PLAYBOOK))
    assert done.returncode == 1
    assert done.stdout == ""
    assert "ANSIBLE_BECOME_PASSWORD_FILE" in done.stderr


# As sudo is after somebody typed the password: the terminal is let in, another session is not.
CACHED = 'case " $* " in *" -k "*) exit 1 ;; esac'


def test_a_password_that_the_terminal_was_asked_for_is_not_ansibles(programs: Programs) -> None:
    path = programs(id=USER, sudo=CACHED, ansible_playbook=PLAYBOOK)
    done = script("playbook.sh", "site.yml", path=path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "ANSIBLE_BECOME_PASSWORD_FILE" in done.stderr

    # Whoever sits there is asked, once.
    ours, theirs = os.openpty()
    with os.fdopen(ours, "rb"), os.fdopen(theirs, "rb") as terminal:
        line = ["bash", str(REPOSITORY / "scripts/playbook.sh"), "site.yml"]
        asked = subprocess.run(
            line, env={"PATH": str(path)}, stdin=terminal, capture_output=True, text=True, check=False
        )
    assert asked.stdout == "played: site.yml --ask-become-pass\n"


def test_password_file_is_enough(programs: Programs) -> None:
    path = programs(id=USER, sudo="exit 1", ansible_playbook=PLAYBOOK)
    done = script("playbook.sh", "site.yml", path=path, ANSIBLE_BECOME_PASSWORD_FILE="/secret")
    assert done.returncode == 0


FAILING_LINT = 'test "$2" != lint'


def test_stages_stop_at_the_first_that_fails(programs: Programs) -> None:
    done = script("stages.sh", "unit", "lint", "molecule", path=programs(fake_make=FAILING_LINT), MAKE="fake-make")
    assert done.returncode == 1
    verdicts = [line.split()[:2] for line in done.stdout.split("\n\n")[-1].splitlines()]
    assert verdicts == [["unit", "passed"], ["lint", "FAILED"], ["molecule", "not"]]


def test_stages_keep_going_and_fail_in_the_end(programs: Programs) -> None:
    path = programs(fake_make=FAILING_LINT)
    done = script("stages.sh", "--keep-going", "lint", "unit", path=path, MAKE="fake-make")
    assert done.returncode == 1
    verdicts = [line.split()[:2] for line in done.stdout.split("\n\n")[-1].splitlines()]
    assert verdicts == [["lint", "FAILED"], ["unit", "passed"]]


def test_stages_side_by_side_all_run_and_fail_if_one_fails(programs: Programs) -> None:
    path = programs(fake_make=f"echo of $2; {FAILING_LINT}")
    done = script("stages.sh", "lint+unit", "molecule", path=path, MAKE="fake-make")
    assert done.returncode == 1
    assert {"lint | of lint", "unit | of unit"} <= set(done.stdout.splitlines())
    verdicts = [line.split()[:2] for line in done.stdout.split("\n\n")[-1].splitlines()]
    assert sorted(verdicts[:2]) == [["lint", "FAILED"], ["unit", "passed"]]
    assert verdicts[2:] == [["molecule", "not"]]


def test_stages_that_pass_pass(programs: Programs) -> None:
    assert script("stages.sh", "lint", path=programs(fake_make="exit 0"), MAKE="fake-make").returncode == 0


@pytest.fixture
def small_checkout(tmp_path: Path) -> Path:
    """Make a checkout with nothing but what the virtual environment is made of, without requirements."""
    checkout = tmp_path / "checkout"
    (checkout / "scripts").mkdir(parents=True)
    shutil.copy(REPOSITORY / "scripts/venv.sh", checkout / "scripts")
    for name in ("requirements.txt", "requirements-node.txt", "constraints.txt"):
        (checkout / name).touch()
    return checkout


def make_venv(checkout: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [checkout / "scripts/venv.sh"],
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/nonexistent", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_environment_is_made_once_and_again_when_requirements_change(small_checkout: Path) -> None:
    first = make_venv(small_checkout, PYTHON=shutil.which("python3") or "")
    assert first.returncode == 0, first.stderr
    assert "making .venv" in first.stdout
    assert (small_checkout / ".collections/ansible_collections/cicd/sandbox/scripts/venv.sh").is_file()

    assert make_venv(small_checkout).stdout == ""

    (small_checkout / "constraints.txt").write_text("# changed\n", encoding="utf-8")
    assert "installing" in make_venv(small_checkout).stdout


def test_programs_of_the_environment_run_where_nobody_has_tidied_it(small_checkout: Path) -> None:
    """Called by name, not by make: Ansible would refuse the locale, and not find the collection."""
    shutil.copy(REPOSITORY / "scripts/cicd_sandbox_start.py", small_checkout / "scripts")
    foreign = {"PIP_USER": "1", "PIP_TARGET": "/nonexistent", "PYTHONPATH": "/nonexistent", "LC_ALL": "xx_XX.UTF-8"}
    made = make_venv(small_checkout, PYTHON=shutil.which("python3") or "", **foreign)
    assert made.returncode == 0, made.stderr
    (packages,) = small_checkout.glob(".venv/lib/python3.*/site-packages")
    assert (packages / "cicd_sandbox_start.py").resolve() == small_checkout / "scripts/cicd_sandbox_start.py"

    def started(name: str, **environment: str) -> dict[str, str]:
        program = small_checkout / ".venv/bin" / name
        program.write_text(
            "import json, locale, os; print(json.dumps([locale.setlocale(locale.LC_ALL, ''), {**os.environ}]))"
        )
        line = [small_checkout / ".venv/bin/python", program]
        shown = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
        assert shown.stderr == ""
        used, found = json.loads(shown.stdout)
        return {"locale": used, **found}

    for name in ("xx_XX.UTF-8", "C", "POSIX", "C.UTF-8"):
        assert started("ansible-probe", LC_ALL=name)["locale"] == "C.UTF-8"
    found = started("ansible-probe", LC_ALL="C.UTF-8", ANSIBLE_COLLECTIONS_PATH="/theirs")
    assert found["ANSIBLE_COLLECTIONS_PATH"] == f"/theirs:{small_checkout}/.collections"
    assert "ANSIBLE_COLLECTIONS_PATH" not in started("ansible-probe", LC_ALL="C.UTF-8")
    others = {
        "ANSIBLE_INVENTORY_ENABLED": "script",
        "ANSIBLE_CACHE_PLUGIN": "redis",
        "ANSIBLE_CACHE_PLUGIN_PREFIX": "x",
    }
    assert not set(others) & set(started("ansible-probe", LC_ALL="C.UTF-8", **others))
    # Callbacks that are not there, and some that are: Ansible's own, one that has moved, one of a collection.
    config = packages / "ansible/config/ansible_builtin_runtime.yml"
    builtin = packages / "ansible/plugins/callback/minimal.py"
    of_collection = packages / "ansible_collections/ansible/posix/plugins/callback/json.py"
    for path in (config, builtin, of_collection):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            "plugin_routing:\n  action:\n    zzz:\n  callback:\n    json:\n      redirect: ansible.posix.json\n"
        )
    for callback, there in (
        ("nobody.knows.it", False),
        ("nobody", False),
        ("ansible.posix.nobody", False),
        ("zzz", False),
        ("ansible.posix.json", True),
        ("ansible.builtin.minimal", True),
        ("minimal", True),
        ("json", True),
    ):
        found = started("ansible-probe", LC_ALL="C.UTF-8", ANSIBLE_STDOUT_CALLBACK=callback)
        assert ("ANSIBLE_STDOUT_CALLBACK" in found) is there, callback
    # What it finds there it takes for installed.
    found = started("ansible-galaxy", LC_ALL="C.UTF-8", ANSIBLE_COLLECTIONS_PATH="/theirs")
    assert found["ANSIBLE_COLLECTIONS_PATH"] == "/theirs"


def test_python_that_is_too_old_is_said(small_checkout: Path, tmp_path: Path) -> None:
    old = tmp_path / "python3.9"
    old.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    old.chmod(0o755)
    refused = make_venv(small_checkout, PYTHON=str(old))
    assert refused.returncode == 1
    assert "no Python 3.11, 3.12 or 3.13 found" in refused.stderr
    assert not (small_checkout / ".venv").exists()


def test_python_that_cannot_make_environments_is_passed_over_or_said(small_checkout: Path, tmp_path: Path) -> None:
    bare = tmp_path / "python3-bare"
    bare.write_text('#!/bin/sh\ncase "$2" in *ensurepip*) exit 1 ;; *print*) echo 3.12 ;; esac\n', encoding="utf-8")
    bare.chmod(0o755)
    refused = make_venv(small_checkout, PYTHON=str(bare))
    assert refused.returncode == 1
    assert f"{bare} has no module venv. Install it: sudo apt-get install python3.12-venv" in refused.stderr

    made = make_venv(small_checkout, PYTHON=f"{bare} {shutil.which('python3')}")
    assert made.returncode == 0, made.stderr
    assert f"making .venv with {shutil.which('python3')} " in made.stdout


# Of another project, of a login shell, of a language.
HOSTILE = {
    "ANSIBLE_BECOME": "true",
    "ANSIBLE_CALLBACKS_ENABLED": "theirs.collection.callback",
    "ANSIBLE_COLLECTIONS_PATH": "/nonexistent",
    "ANSIBLE_INVENTORY": "/nonexistent",
    "ANSIBLE_ROLES_PATH": "/nonexistent",
    "ANSIBLE_STDOUT_CALLBACK": "theirs.collection.callback",
    "ANSIBLE_STRATEGY": "free",
    "BASH_ENV": "/nonexistent/bash_env",
    "CDPATH": "/:/usr",
    "GIT_DIR": "/nonexistent",
    "GIT_WORK_TREE": "/nonexistent",
    "GOFLAGS": "-mod=vendor",
    "GOOS": "plan9",
    "HELM_NAMESPACE": "theirs",
    "K8S_AUTH_HOST": "https://theirs.example",
    "KUBERNETES_SERVICE_HOST": "192.0.2.1",
    "LANG": "de_XX.UTF-8",
    "LANGUAGE": "de",
    "LC_ALL": "xx_XX.ISO-8859-1",
    "LC_NUMERIC": "de_XX.UTF-8",
    "NODE_ENV": "production",
    "NODE_OPTIONS": "--require=/nonexistent",
    "NPM_CONFIG_GLOBAL": "true",
    "PIP_NO_INDEX": "1",
    "PIP_TARGET": "/nonexistent",
    "PIP_USER": "1",
    "POSIXLY_CORRECT": "1",
    "PYTEST_ADDOPTS": "--pdb",
    "PYTHONHOME": "/nonexistent",
    "PYTHONPATH": "/nonexistent",
    "PYTHONWARNINGS": "error",
    "TMPDIR": "/nonexistent",
    "npm_config_prefix": "/nonexistent",
}
# Of the user's, for everything that is run here.
KEPT = {
    "ANSIBLE_BECOME_PASSWORD_FILE": "/secret",
    "ANSIBLE_VAULT_PASSWORD_FILE": "/secret",
    "ANSIBLE_SSH_ARGS": "-o ProxyJump=bastion.example",
    "GOPROXY": "https://modules.example",
    "HTTPS_PROXY": "http://proxy.example:3128",
    "KUBECONFIG": "/home/jo/kubeconfig",
    "NODE_EXTRA_CA_CERTS": "/ca.crt",
    "NPM_CONFIG_REGISTRY": "https://packages.example",
    "PIP_INDEX_URL": "https://packages.example",
    "PYTHON": "/usr/bin/python3",
    "npm_config_strict_ssl": "true",
}
SET = {"LC_ALL": "C.UTF-8", "PIP_USER": "0"}


def test_what_others_have_put_into_the_environment_does_not_reach_recipes() -> None:
    line = ["make", "--eval", "probe:; @env --null; umask", "probe"]
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **HOSTILE, **KEPT}
    environment |= {"BASH_FUNC_cd%%": "() { echo wrong; }"}
    shown = subprocess.run(
        line, check=False, cwd=REPOSITORY, env=environment, capture_output=True, text=True, umask=0o077
    )
    *pairs, umask = shown.stdout.split("\0")
    found = dict(pair.split("=", 1) for pair in pairs)
    assert (shown.returncode, shown.stderr, umask.strip()) == (0, "", "0022")
    assert {name: found.get(name) for name in HOSTILE | KEPT} == dict.fromkeys(HOSTILE) | KEPT | SET
    assert [name for name in found if name.startswith("BASH_FUNC")] == []


def test_ansible_has_the_same_taken_away_as_make() -> None:
    foreign = {name for name in HOSTILE if names_another_cluster(name)}
    kept = tidied({**HOSTILE, **KEPT}, plays=True)
    assert {name: value for name, value in kept.items() if name not in {"PATH", *foreign}} == KEPT | SET


@pytest.mark.parametrize("name", [path.name for path in (REPOSITORY / "scripts").glob("*.sh")])
def test_scripts_go_to_the_checkout_whatever_cdpath_says(name: str) -> None:
    text = (REPOSITORY / "scripts" / name).read_text()
    assert re.findall(r"^(?!CDPATH='' )cd ", text, re.MULTILINE) == []


def test_what_python_compiles_is_kept_whatever_the_environment_says() -> None:
    shown = subprocess.run(
        ["make", "--no-print-directory", "--eval", 'probe:; @echo "$${PYTHONDONTWRITEBYTECODE-unset}"', "probe"],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout == "unset\n"


@pytest.mark.parametrize("given", ["environment", "command line"])
def test_arguments_for_the_collections_tests_do_not_reach_the_applications(given: str) -> None:
    arguments = "-k kubeconfig"
    shown = subprocess.run(
        ["make", "--dry-run", *([f"ARGS={arguments}"] if given == "command line" else []), "unit-apps"],
        cwd=REPOSITORY,
        env={**os.environ, "ARGS": arguments},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "-m pytest" in shown.stdout
    assert "npm test" in shown.stdout
    assert arguments not in shown.stdout


def test_a_password_that_nobody_can_be_asked_for_is_said_before_the_tests(programs: Programs) -> None:
    path = programs(id=USER, sudo="exit 1", ansible_playbook=PLAYBOOK)
    refused = script("playbook.sh", path=path)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "ANSIBLE_BECOME_PASSWORD_FILE" in refused.stderr
    allowed = script("playbook.sh", path=path, ANSIBLE_BECOME_PASSWORD_FILE="/secret")
    assert (allowed.returncode, allowed.stdout) == (0, "")


@pytest.mark.parametrize("target", ["test", "molecule"])
def test_it_is_the_first_that_tests_look_at(target: str) -> None:
    line = ["make", "--dry-run", "--old-file=venv", target]
    shown = subprocess.run(line, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert 0 <= shown.find("scripts/playbook.sh </dev/null") < shown.find("scripts/stages.sh"), shown


SEEN_IN_A_VIEW = re.findall(r"under-systemd\.sh .*", (REPOSITORY / "Makefile").read_text())[0].split(" molecule-")[1:]


@pytest.mark.parametrize("scenario", SEEN_IN_A_VIEW)
def test_a_view_without_network_goes_by_what_was_found_outside(scenario: str) -> None:
    def probes(**environment: str) -> list[str]:
        inventory = f"--inventory=molecule/{scenario}/inventory"
        line = ["ansible", "localhost", inventory, "--module-name=debug", "--args=var=artifacts_probes"]
        environment = {**os.environ, "ANSIBLE_CALLBACK_RESULT_FORMAT": "json", **environment}
        shown = subprocess.run(line, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True)
        found: list[str] = json.loads(shown.stdout.partition("=>")[2])["artifacts_probes"]
        return found

    assert probes() == load(REPOSITORY / "roles/artifacts/defaults/main.yml")["artifacts_probes"]
    # Nothing to ask: none refuses.
    assert probes(SANDBOX_RELEASES_FOUND="yes") == []


HOSTVARS = {"_meta": {"hostvars": {"cp-1": {"ansible_host": "198.18.7.21"}, "localhost": {}}}}
WITH_NAMES = {
    "id": "echo 0",
    "ansible_inventory": f"echo '{json.dumps(HOSTVARS)}'",
    "mount": 'echo "mounted on $3"; tail --lines=1 "$2"; echo "$2" >$NOTE',
    "unshare": 'shift 2; exec "$@"',
}


def test_a_command_is_run_with_names_that_nobody_else_sees(programs: Programs, tmp_path: Path) -> None:
    folder = programs(**WITH_NAMES)
    for name in ("chmod", "mktemp", "python3", "rm", "tail"):
        (folder / name).symlink_to(str(shutil.which(name)))
    note = tmp_path / "note"
    command = ["sh", "-c", "echo $WITH_NAMES_OUTSIDE; exit 3"]
    (folder / "sh").symlink_to("/bin/sh")
    done = script("with-names.sh", "inventory", *command, path=folder, NOTE=str(note))
    mounted, last, outside = done.stdout.splitlines()
    assert (done.returncode, mounted, last) == (3, "mounted on /etc/hosts", "198.18.7.21 cp-1")
    assert re.fullmatch(r"/proc/\d+/ns/mnt", outside)
    assert not Path(note.read_text().strip()).exists()


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["-k", "login"], "tests/e2e -k login"),
        (["tests/e2e/test_tls.py::test_chain", "-x"], "tests/e2e/test_tls.py::test_chain -x"),
        ([], "tests/e2e"),
    ],
)
def test_files_that_are_named_are_all_that_is_tested(
    programs: Programs, tmp_path: Path, arguments: list[str], wanted: str
) -> None:
    (tmp_path / "kubeconfig").touch()
    facts = json.dumps({"sandbox_state_directory": str(tmp_path)})
    path = programs(
        ansible_inventory=f"echo '{facts}'",
        python3=f'exec "{shutil.which("python3")}" "$@"',
        pytest='echo "tested: $*"',
    )
    done = script("e2e.sh", "inventory", *arguments, path=path)
    assert (done.returncode, done.stdout) == (0, f"tested: {wanted}\n"), done.stderr
