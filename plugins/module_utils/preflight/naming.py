# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names that an inventory gives: hosts become machines, nodes of Kubernetes and parts of certificates."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Callable

from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn.network import SANDBOX_NAME
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn.site import MACHINE_NAME
from ansible_collections.cicd.sandbox.plugins.module_utils.preflight.findings import Finding, Inventory

# RFC 1123, in the lower case that Kubernetes asks for.
LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")
LONGEST_NAME = 253
# HOST_NAME_MAX: what systemd-nspawn calls a machine, <sandbox>-<host>.
LONGEST_MACHINE = 64
DOMAINS = ("sandbox_domain", "cluster_dns_domain")
NAMESPACES = ("sandbox_apps_namespace",)
USERS = ("sandbox_pages_user",)
# What a browser sends before a colon, and a file of logins has in one word.
USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}\Z")


def is_label(name: str) -> bool:
    """Tell whether a name is one label of DNS."""
    return bool(LABEL.match(name))


def is_domain(name: str) -> bool:
    """Tell whether a name is labels of DNS with dots between them."""
    return len(name) <= LONGEST_NAME and all(is_label(label) for label in name.split("."))


def is_node(name: str) -> bool:
    """Tell whether a host of the user's may be a node by this name: an address may be, a mere number is none."""
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return is_domain(name) and not name.replace(".", "").isdigit()
    return True


def check_naming(inventory: Inventory) -> list[Finding]:
    """Check the names of hosts, of the sandbox, of domains, of namespaces and of users."""
    return [*check_hosts(inventory), *check_sandbox(inventory), *check_domains(inventory), *check_users(inventory)]


def check_hosts(inventory: Inventory) -> list[Finding]:
    """Check that hosts can be called what they are called, and that no two differ by case alone."""
    findings = []
    lower: dict[str, str] = {}
    for host in inventory.addresses:
        made = host in inventory.made
        origin = inventory.origin(host)
        if not (MACHINE_NAME.match(host) if made else is_node(host)):
            found = "is no name of a machine" if made else "is no name of a node"
            rule = (
                "a-z, 0-9 and -, a letter first, at most 63"
                if made
                else "a-z, 0-9, - and dots, at most 63 between dots"
            )
            remedy = f"Take {rule}{_suggestion(host, MACHINE_NAME.match if made else is_node)}."
            findings.append(Finding(f"host {host}", found, origin, remedy))
        elif made and len(inventory.sandbox) + 1 + len(host) > LONGEST_MACHINE:
            found = f"{inventory.sandbox}-{host} is longer than {LONGEST_MACHINE} characters"
            findings.append(Finding(f"host {host}", found, origin, "Give host or sandbox a shorter name."))
        other = lower.setdefault(host.casefold(), host)
        if other != host:
            found = f"differs from {other} by case alone"
            findings.append(Finding(f"host {host}", found, origin, "Give it another name: DNS knows no case."))
    return findings


def check_sandbox(inventory: Inventory) -> list[Finding]:
    """Check the sandbox's name, which becomes part of interfaces where machines are made, and of paths."""
    name = inventory.sandbox
    fits = SANDBOX_NAME.match if inventory.made else is_label
    if not name or fits(name):
        return []
    rule = "at most 12 of a-z, 0-9 and -, a letter first" if inventory.made else "at most 63 of a-z, 0-9 and -"
    remedy = f"Take {rule}{_suggestion(name, fits)}."
    return [Finding("sandbox_name", f"{name!r} can't be used", inventory.origin("sandbox_name"), remedy)]


def check_domains(inventory: Inventory) -> list[Finding]:
    """Check the values that become names of DNS."""
    findings = []
    for setting in inventory.settings:
        text = str(setting.value)
        if setting.name in DOMAINS:
            fits, rule = is_domain, "a-z, 0-9 and - between dots"
        elif setting.name in NAMESPACES:
            fits, rule = is_label, "at most 63 of a-z, 0-9 and -"
        else:
            continue
        if not fits(text):
            remedy = f"Take {rule}{_suggestion(text, fits)}."
            origin = inventory.origin(setting.name) or f"a variable of {setting.host}"
            findings.append(Finding(setting.name, f"{text!r} is no name of DNS", origin, remedy))
    return findings


def check_users(inventory: Inventory) -> list[Finding]:
    """Check who logs in at pages; nobody does where the name is empty, so that nothing may ask for it."""
    findings = []
    for setting in inventory.settings:
        text = str(setting.value)
        origin = inventory.origin(setting.name) or f"a variable of {setting.host}"
        if setting.name in USERS and text and not USER.match(text):
            remedy = "Take letters, digits, ., _, @ and -, at most 64."
            findings.append(Finding(setting.name, f"{text!r} is no name of a user", origin, remedy))
        if setting.name == "sandbox_pages_user" and not text and _asks(inventory, setting.host):
            found = "is empty, and sandbox_landing_login asks for it"
            findings.append(Finding(setting.name, found, origin, "Name a user, or set sandbox_landing_login to false."))
    return findings


def _asks(inventory: Inventory, host: str) -> bool:
    return any(
        setting.value is True and setting.host == host
        for setting in inventory.settings
        if setting.name == "sandbox_landing_login"
    )


def _suggestion(name: str, fits: Callable[[str], object]) -> str:
    """Return the name that is most like one, as ", such as …"; empty where none is."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    likely = re.sub(r"[^a-z0-9.]+", "-", plain).strip("-.")
    dashed = likely.replace(".", "-")
    for candidate in (likely, dashed, f"host-{dashed}"):
        if likely and fits(candidate):
            return f", such as {candidate}"
    return ""
