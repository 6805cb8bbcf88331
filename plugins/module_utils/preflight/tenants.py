# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find what the cluster would refuse in what an inventory says of tenants, or would take and nobody means.

What has another type than the role's argument specification says is left to that: it is told by check_values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.preflight.authorization import (
    WEBHOOK_IS_LAST,
    check_authorizers,
    check_closed_hours,
    check_revoked,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.preflight.entries import (
    NO_TENANT,
    NO_USER,
    Entry,
    Wrong,
    entries,
    meant,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.preflight.findings import Finding

Origin = Callable[[str], str]

# https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/ , without a sign.
QUANTITY = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?P<suffix>[numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]+)?")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}

# What a container can have, and what a ResourceQuota counts.
COMPUTED = ("cpu", "memory", "ephemeral-storage")
QUOTAS = (
    *(f"{prefix}{name}" for prefix in ("", "requests.", "limits.") for name in COMPUTED),
    *("requests.storage", "pods", "services", "services.loadbalancers", "services.nodeports", "secrets", "configmaps"),
    *("persistentvolumeclaims", "replicationcontrollers", "resourcequotas"),
)
# Objects of any kind; sizes and claims of a StorageClass; what devices there are; pages of memory.
OTHER_QUOTAS = re.compile(
    r"count/[a-z]+(\.[a-z0-9.-]+)?"
    r"|[a-z0-9.-]+\.storageclass\.storage\.k8s\.io/(requests\.storage|persistentvolumeclaims)"
    r"|requests\.[a-z0-9.-]+/[A-Za-z0-9_.-]+|(requests\.|limits\.)?hugepages-[0-9]+[KMG]i"
)
NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,43}[a-z0-9])?")
LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
OBJECT = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
# The cluster's own: what guards tenants would end it.
RESERVED = {"default", "istio-egress", "istio-ingress", "istio-system", "local-path-storage", "observability"}
LIMITS = ("default_requests", "default_limits", "max_limits")


def check_security(values: Mapping[str, Any], origin: Origin, admin: str = "") -> list[Finding]:
    """Check variables of role security, by their names. origin: variable → where it is set, "" where no file has it.

    admin: the user that may be the cluster's admin. Where the role is switched off, only whom API servers ask is looked
    at.
    """
    enabled = bool(values.get("security_enabled", True))
    tenants = entries(values, "security_tenants")
    users, bindings = entries(values, "security_users"), entries(values, "security_bindings")
    roles = _mapping(values, "security_roles")
    authorizers = check_authorizers(values.get("security_authorizers"), enabled=enabled)
    found = (
        authorizers
        if not enabled
        else [
            *authorizers,
            *check_closed_hours(entries(values, "security_closed_hours"), tenants),
            *check_revoked(values.get("security_revoked_users"), users, values.get("security_authorizers")),
            *_tenants(tenants),
            *_exceptions(entries(values, "security_exceptions"), tenants),
            *_users(users, tenants),
            *_hours(values.get("security_certificate_hours")),
            *_roles(roles),
            *_bindings(bindings, tenants, roles),
            *_admins(users, bindings, roles, admin),
            *_matrix(entries(values, "security_matrix"), users, tenants),
        ]
    )
    origins = {variable: origin(variable) for variable in values}
    return [
        Finding(
            where,
            what,
            origins.get(_variable(where)) or "defaults of the role security",
            remedy,
            # A choice that one may have, and hardly means.
            warning=what == WEBHOOK_IS_LAST,
        )
        for where, what, remedy in found
        # Whoever names tenants of their own need not name users and rights anew: those of other tenants have no effect.
        if not what.endswith((NO_TENANT, NO_USER)) or origins.get(_variable(where))
    ]


def _variable(where: str) -> str:
    return where.partition("[")[0]


def quantity(text: object) -> Decimal | None:
    """Return the number that a quantity such as 500m or 1Gi is; None where it is none that is not negative."""
    if isinstance(text, bool):
        return None
    match = QUANTITY.fullmatch(str(text))
    if match is None:
        return None
    number, suffix = Decimal(match["number"]), match["suffix"] or ""
    if suffix in _BINARY:
        return number * Decimal(2) ** _BINARY[suffix]
    exponent = _DECIMAL[suffix] if suffix in _DECIMAL else int(suffix[1:])
    return number.scaleb(exponent) if abs(exponent) < 1000 else None


def _mapping(entry: Entry, key: str) -> Entry:
    value = entry.get(key)
    return value if isinstance(value, Mapping) else {}


def _repeated(entries: Iterable[tuple[str, Entry]], key: str) -> Iterator[Wrong]:
    """Find entries whose key another one before them has."""
    first: dict[str, str] = {}
    for where, entry in entries:
        name = str(entry.get(key))
        if name in first:
            yield where, f"{key} {name} is that of {first[name]}, too", "Make one entry of the two."
        first.setdefault(name, where)


# --- tenants ---------------------------------------------------------------------------------------------------------


def _tenants(tenants: list[tuple[str, Entry]]) -> Iterator[Wrong]:
    yield from _repeated(tenants, "namespace")
    for where, tenant in tenants:
        name = str(tenant.get("namespace") or "")
        if not NAMESPACE.fullmatch(name):
            remedy = "A namespace is of lower-case letters, digits and dashes, 45 at most, with no dash at its ends."
            yield f"{where}.namespace", f"{name!r} is no name of a namespace", remedy
        elif name.startswith("kube-") or name in RESERVED:
            yield f"{where}.namespace", f"{name} is a namespace of the cluster's own", "Give the tenant one of its own."
        sizes = {key: _sizes(_mapping(tenant, key)) for key in ("quota", *LIMITS)}
        yield from _quota(f"{where}.quota", _mapping(tenant, "quota"))
        for key in LIMITS:
            yield from _quantities(f"{where}.{key}", _mapping(tenant, key), COMPUTED)
        yield from _pods(f"{where}.pods", tenant.get("pods"))
        yield from _order(where, sizes)
        yield from _fitting(where, sizes)


def _pods(where: str, grants: object) -> Iterator[Wrong]:
    """Check what pods may use: names that an API server takes, and no entry that grants nothing."""
    for index, grant in enumerate(grants if isinstance(grants, list) else ()):
        if not isinstance(grant, Mapping):
            continue
        app = grant.get("app") or ""
        if not LABEL.fullmatch(str(app)):
            yield (
                f"{where}[{index}].app",
                f"{app!r} is no value of a label",
                "It is of 63 letters, digits and -_. at most.",
            )
        granted = [name for key in ("secrets", "service_accounts") for name in grant.get(key) or ()]
        for name in granted:
            if not OBJECT.fullmatch(str(name)):
                remedy = "It is of lower-case letters, digits, dashes and dots."
                yield f"{where}[{index}]", f"{name!r} is no name of an object", remedy
        if not granted:
            yield f"{where}[{index}]", "grants nothing", "Name secrets or service_accounts, or take it out."


def _sizes(mapping: Entry) -> dict[str, Decimal]:
    found = {str(resource): quantity(text) for resource, text in mapping.items()}
    return {resource: size for resource, size in found.items() if size is not None}


def _quota(where: str, quota: Entry) -> Iterator[Wrong]:
    yield from _quantities(where, quota, QUOTAS, OTHER_QUOTAS)
    sizes = _sizes(quota)
    for name in COMPUTED:
        requests, limits = sizes.get(f"requests.{name}"), sizes.get(f"limits.{name}")
        if requests is not None and limits is not None and requests > limits:
            found = f"requests.{name} {quota[f'requests.{name}']} is more than limits.{name} {quota[f'limits.{name}']}"
            yield where, found, "A container requests no more than its limit: lower the one or raise the other."


def _quantities(
    where: str, mapping: Entry, known: Sequence[str], others: re.Pattern[str] | None = None
) -> Iterator[Wrong]:
    for resource, text in mapping.items():
        name = str(resource)
        if name not in known and not (others and others.fullmatch(name)):
            yield f"{where}.{name}", "is no resource that can be limited here", meant(name, known)
        elif quantity(text) is None:
            remedy = "Write a number such as 2, 500m or 1Gi (m, k, M, G, T; Ki, Mi, Gi, Ti), not below 0."
            yield f"{where}.{name}", f"{text!r} is no quantity", remedy


def _order(where: str, sizes: Mapping[str, Mapping[str, Decimal]]) -> Iterator[Wrong]:
    """Check that a container that says nothing is within what it may have, as the API server does."""
    for smaller, larger in (
        ("default_requests", "default_limits"),
        ("default_requests", "max_limits"),
        ("default_limits", "max_limits"),
    ):
        for name in sizes[smaller].keys() & sizes[larger].keys():
            if sizes[smaller][name] > sizes[larger][name]:
                found = f"{name} of {smaller} is more than that of {larger}"
                yield where, found, "A container that says nothing of it would be refused: put them in order."


def _fitting(where: str, sizes: Mapping[str, Mapping[str, Decimal]]) -> Iterator[Wrong]:
    """Check that a quota and the limits of a container go together."""
    for name in COMPUTED:
        for prefix, defaults in (
            ("requests.", ("default_requests", "default_limits")),
            ("limits.", ("default_limits",)),
        ):
            # A largest limit is the limit of those that have none.
            given = {resource for key in (*defaults, "max_limits") for resource in sizes[key]}
            total = sizes["quota"].get(f"{prefix}{name}")
            if total is None:
                continue
            if name not in given:
                found = f"quota has {prefix}{name}, and {defaults[0]} has no {name}"
                yield where, found, "A pod that says nothing of it would be refused: give it a default."
            default = sizes[defaults[0]].get(name)
            if default is not None and default > total:
                found = f"{name} of {defaults[0]} is more than the quota's {prefix}{name}"
                yield where, found, "No container would ever fit: raise the quota, or lower the default."


def _exceptions(exceptions: list[tuple[str, Entry]], tenants: list[tuple[str, Entry]]) -> Iterator[Wrong]:
    yield from _repeated(exceptions, "namespace")
    known = {str(tenant.get("namespace")) for _, tenant in tenants}
    for where, exception in exceptions:
        name = str(exception.get("namespace"))
        if name not in known:
            yield f"{where}.namespace", f"{name} {NO_TENANT}", meant(name, known)
        if not str(exception.get("reason") or "").strip():
            yield f"{where}.reason", f"there is none for {name}", "Say why its pods need what restricted refuses."


# --- users -----------------------------------------------------------------------------------------------------------

USER = re.compile(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?")
GROUP = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9.]{0,51}[A-Za-z0-9])?")
ROLE = re.compile(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?")
# Those of every cluster.
CLUSTER_ROLES = ("admin", "cluster-admin", "edit", "view")
RULE = {"apiGroups", "resources", "resourceNames", "nonResourceURLs", "verbs"}


def _users(users: list[tuple[str, Entry]], tenants: list[tuple[str, Entry]]) -> Iterator[Wrong]:
    yield from _repeated(users, "name")
    known = {str(tenant.get("namespace")) for _, tenant in tenants}
    for where, user in users:
        name, namespace = str(user.get("name") or ""), user.get("namespace")
        if not USER.fullmatch(name):
            remedy = (
                "A user is of lower-case letters, digits, dashes and dots, 63 at most; system: is the cluster's own."
            )
            yield f"{where}.name", f"{name!r} is no name of a user", remedy
        groups = user.get("groups")
        groups = groups if isinstance(groups, list) else []
        if not groups:
            yield f"{where}.groups", f"{name} is in no group", "Name one: rights are those of groups."
        for group in groups:
            if not GROUP.fullmatch(str(group)):
                remedy = "A group is of letters, digits, dashes and dots, 53 at most; system: is the cluster's own."
                yield f"{where}.groups", f"{group!r} is no group for {name}", remedy
        if namespace and str(namespace) not in known:
            yield f"{where}.namespace", f"{namespace} {NO_TENANT}", meant(str(namespace), known)


def _hours(hours: object) -> Iterator[Wrong]:
    """Check the time of certificates: whole hours, at most that of the cluster's own."""
    if isinstance(hours, int | str) and str(hours).isdigit() and not 1 <= int(hours) <= 8760:
        remedy = "Take 1 to 8760: nothing revokes a certificate, so that it is to end soon."
        yield "security_certificate_hours", f"is {hours}", remedy


def _roles(roles: Entry) -> Iterator[Wrong]:
    for name, rules in roles.items():
        where = f"security_roles[{name}]"
        if str(name) in CLUSTER_ROLES:
            yield where, f"{name} is a role that every cluster has", "Give it a name of its own."
        elif not ROLE.fullmatch(str(name)):
            yield where, f"{name!r} is no name of a role", "It is of lower-case letters, digits, dashes and dots."
        if not isinstance(rules, list) or not all(isinstance(rule, Mapping) for rule in rules):
            yield where, "is no list of rules", "Write rules as of rbac.authorization.k8s.io/v1."
            continue
        for index, rule in enumerate(rules):
            yield from _rule(f"{where}[{index}]", rule)


def _rule(where: str, rule: Entry) -> Iterator[Wrong]:
    for key, value in rule.items():
        if key not in RULE:
            yield f"{where}.{key}", "is nothing that a rule has", meant(str(key), RULE)
        elif not isinstance(value, list) or not all(isinstance(text, str) for text in value):
            yield f"{where}.{key}", "is no list of texts", "Write [one, another]."
    if not rule.get("verbs"):
        yield where, "has no verbs", "Name them: get, list, watch, create, update, patch, delete."
    if bool(rule.get("resources")) == bool(rule.get("nonResourceURLs")):
        yield where, "has to have resources or else nonResourceURLs", "Name one of both."
    elif rule.get("resources") and "apiGroups" not in rule:
        yield where, "has resources of no apiGroups", 'Name their groups; [""] is the core one.'


def _bindings(bindings: list[tuple[str, Entry]], tenants: list[tuple[str, Entry]], roles: Entry) -> Iterator[Wrong]:
    known = {str(tenant.get("namespace")) for _, tenant in tenants}
    first: dict[tuple[str, str, str], str] = {}
    for where, binding in bindings:
        group, role = str(binding.get("group")), str(binding.get("role"))
        if not GROUP.fullmatch(group):
            yield f"{where}.group", f"{group!r} is no group of users", "Name one of security_users."
        if role not in roles and role not in CLUSTER_ROLES:
            yield f"{where}.role", f"there is no role {role}", meant(role, {*map(str, roles), *CLUSTER_ROLES})
        namespaces = binding.get("namespaces")
        for namespace in namespaces if isinstance(namespaces, list) else [""]:
            if namespace and str(namespace) not in known:
                yield f"{where}.namespaces", f"{namespace} {NO_TENANT}", meant(str(namespace), known)
            key = (group, role, str(namespace))
            if key in first:
                yield where, f"{group} has {role} in {namespace or 'the cluster'} by {first[key]}, too", "Take one out."
            first.setdefault(key, where)


def _admins(
    users: list[tuple[str, Entry]], bindings: list[tuple[str, Entry]], roles: Entry, admin: str
) -> Iterator[Wrong]:
    """Find users beside the admin who may do everything in the whole cluster."""

    def everything(role: str) -> bool:
        rules = roles.get(role)
        return role == "cluster-admin" or any(
            all("*" in (rule.get(key) or ()) for key in ("apiGroups", "resources", "verbs"))
            for rule in (rules if isinstance(rules, list) else ())
            if isinstance(rule, Mapping)
        )

    for where, binding in bindings:
        if binding.get("namespaces") or not everything(str(binding.get("role"))):
            continue
        group = binding.get("group")
        others = [
            str(user.get("name"))
            for _, user in users
            if isinstance(user.get("groups"), list) and group in user["groups"] and user.get("name") != admin
        ]
        if others:
            found = f"{', '.join(others)} would be the cluster's admin, as members of {group}"
            yield where, found, f"Nobody but {admin or 'the admin'} is to be: give the group another role."


# --- matrix ----------------------------------------------------------------------------------------------------------

VERBS = (
    *("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"),
    *("approve", "bind", "escalate", "impersonate", "sign", "use", "*"),
)
LINE = re.compile(r"(?P<verb>\S+) (?P<resource>[a-z]+|\*)(\.[a-z0-9.-]+|\.\*)?(/[a-z]+)?")
ELSEWHERE = {"", "kube-system"}


def _lines(value: object) -> Iterator[str]:
    """Return the lines of a list, and of lists in it."""
    for line in value if isinstance(value, list) else ():
        if isinstance(line, list):
            yield from _lines(line)
        else:
            yield str(line)


def _matrix(
    matrix: list[tuple[str, Entry]], users: list[tuple[str, Entry]], tenants: list[tuple[str, Entry]]
) -> Iterator[Wrong]:
    names = {"admin", *(str(user.get("name")) for _, user in users)}
    known = {*ELSEWHERE, *(str(tenant.get("namespace")) for _, tenant in tenants)}
    said: dict[tuple[str, str, str], tuple[str, str]] = {}
    for where, entry in matrix:
        user = str(entry.get("user"))
        if user not in names:
            yield f"{where}.user", f"{user} {NO_USER}", meant(user, names)
        namespaces = entry.get("namespaces")
        namespaces = [str(name) for name in namespaces] if isinstance(namespaces, list) else []
        if not namespaces:
            yield f"{where}.namespaces", "is empty", 'Name one; "" is the whole cluster.'
        for name in namespaces:
            if name not in known:
                yield f"{where}.namespaces", f"{name} {NO_TENANT}", meant(name, known)
        for answer in ("can", "cannot"):
            for line in _lines(entry.get(answer)):
                yield from _line(f"{where}.{answer}", line)
                for name in namespaces:
                    before, place = said.setdefault((user, name, line), (answer, where))
                    if before != answer:
                        found = f"{user} {answer} {line} in {name or 'the cluster'}, and {before} by {place}"
                        yield where, found, "Take one of both out."
        if not [*_lines(entry.get("can")), *_lines(entry.get("cannot"))]:
            yield where, "says nothing", "Give it lines in can or cannot."


def _line(where: str, line: str) -> Iterator[Wrong]:
    match = LINE.fullmatch(line)
    if match is None:
        remedy = "Write a verb and a resource, such as get pods, create pods/exec, patch deployments.apps/scale."
        yield where, f"{line!r} is no line of the matrix", remedy
    elif match["verb"] not in VERBS:
        yield where, f"{line!r}: there is no verb {match['verb']}", meant(match["verb"], VERBS)
