# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: health_check
short_description: Wait until addresses answer and objects are ready, or say why not
version_added: 0.1.0
author:
  - cicd.sandbox contributors
description:
  - Runs checks of addresses and of objects in Kubernetes side by side, at most 16 at a time, each until it passes or
    its deadline is over. All checks run, whatever the others find; the task fails when one of them does.
  - Requests to addresses are repeated after half a second, then after twice as long, up to 5 seconds. Objects are
    looked at every second, so this waits for them, too.
  - What can't heal by itself is not waited for - a Job that has failed for good, an image that the registry does not
    have a minute after its pod was made, a program that is not in its image, a claim of a StorageClass that does not
    exist.
  - A check that fails says what was received and, for O(checks[].kubernetes) and O(checks[].behind), the state of
    objects and containers, their warning events and last log lines.
  - Wrong arguments are named, all of them, before the first request.
  - C(localhost) and the names below it are this machine, whatever its resolver says. Proxies are not used for
    addresses.
options:
  checks:
    description:
      - What to check. Every check has either O(checks[].url) or O(checks[].kubernetes).
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: What is checked, in a word or two. No two checks have the same.
        type: str
        required: true
      deadline:
        description:
          - Seconds, counted from the module's start, until which the check is repeated. Defaults to O(deadline).
        type: float
      timeout:
        description: Seconds that one attempt may take. Defaults to O(timeout).
        type: float
      url:
        description: Address, of C(http) or C(https).
        type: str
      method:
        description: HTTP method. In check mode only V(GET) and V(HEAD) are sent; other checks are skipped.
        type: str
        choices: [GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS]
        default: GET
      headers:
        description: Headers to send. C(Host) chooses a virtual host.
        type: dict
      body:
        description: Body to send, as text.
        type: str
      json:
        description: Body to send, as JSON. Excludes O(checks[].body).
        type: raw
      username:
        description: User for basic authentication.
        type: str
      password_file:
        description: File with the password for basic authentication; a line break at its end is not part of it.
        type: path
      ca_path:
        description: File with the only CA certificates to trust. Without it, those of the system.
        type: path
      validate_certs:
        description: Whether the server has to prove who it is.
        type: bool
        default: true
      server_name:
        description:
          - Name that the server has to prove, and is asked for (SNI), where that is not the host of O(checks[].url).
            The header C(Host) is given in O(checks[].headers).
        type: str
      client_cert:
        description: File with the client's certificate, in PEM.
        type: path
      client_key:
        description: File with its key, in PEM. Without it, the key is expected in O(checks[].client_cert).
        type: path
      follow_redirects:
        description:
          - Whether to follow up to 5 redirects of V(GET) and V(HEAD). Secrets are not sent on to another server.
        type: bool
        default: false
      status:
        description: Expected status, or a list of them.
        type: list
        elements: int
        default: [200]
      max_time:
        description: Seconds that the answer may take.
        type: float
      response_headers:
        description:
          - Expected headers, a value each. A text is what the header equals; a mapping has the operators of
            O(checks[].values).
        type: dict
      contains:
        description: Text, or a list of texts, that the answer has to contain.
        type: raw
      matches:
        description: Regular expression, or a list of them, that has to be found in the answer.
        type: raw
      values:
        description:
          - Expected values in an answer of JSON. All operators given have to hold; without any, the value must not be
            null.
        type: list
        elements: dict
        suboptions: &expectations
          query:
            description: JMESPath expression.
            type: str
            required: true
          equals:
            description: The value itself, of any type. C(true) is not C(1), and C("1") is not C(1).
            type: raw
          contains:
            description: A part of a text, an item of a list, or a key of a mapping.
            type: raw
          matches:
            description: A regular expression found in the value, or in its JSON where it is not a text.
            type: str
          gt:
            description: A number that the value is greater than.
            type: float
          gte:
            description: The least number that the value may be.
            type: float
          lt:
            description: A number that the value is less than.
            type: float
          lte:
            description: The greatest number that the value may be.
            type: float
      behind:
        description:
          - What answers at O(checks[].url) in the cluster, e.g. a Deployment or a Service, or a list of such. When
            the check fails, the pods behind it are asked why.
        type: list
        elements: dict
        suboptions:
          kind:
            description: Kind of the object.
            type: str
            required: true
          api_version:
            description: API version of the object; well-known kinds do not need it.
            type: str
          namespace:
            description: Namespace of the object; V(default) where it is not given.
            type: str
          name:
            description: Name of the object.
            type: str
            required: true
      kubernetes:
        description: Objects in the cluster of O(kubeconfig) that have to be ready, or to have a condition.
        type: dict
        suboptions:
          kind:
            description: Kind of the objects.
            type: str
            required: true
          api_version:
            description: API version of the objects; well-known kinds do not need it.
            type: str
          namespace:
            description:
              - Namespace. Without it, an object with a name is in C(default), others are those of all namespaces.
            type: str
          name:
            description: Name of the one object that is meant.
            type: str
          label_selector:
            description:
              - Labels of the objects that are meant, as for C(kubectl -l). Excludes O(checks[].kubernetes.name).
            type: str
          condition:
            description:
              - Type of the condition that all of them need. Without it, they have to be ready in the way of their
                kind. Deployment, StatefulSet and DaemonSet are rolled out, with all replicas; a Job is complete (one
                that has failed fails the check at once); a Pod is ready or ran to its end; others by their condition
                C(Ready) or C(Available), their phase, or because they exist.
            type: str
          condition_status:
            description: Status of that condition; V("True") where it is not given.
            type: str
            choices: ["True", "False", "Unknown"]
          minimum:
            description: How many objects there have to be at least.
            type: int
            default: 1
          values:
            description: Expected values in each object, as for O(checks[].values), besides that it is ready.
            type: list
            elements: dict
            suboptions: *expectations
  deadline:
    description:
      - Seconds, counted from the module's start, until which checks are repeated. V(0) tries each once, for as long as
        an attempt may take.
    type: float
    default: 60
  timeout:
    description:
      - Seconds that one attempt may take, from asking for the name's address to the end of the answer, and to knowing
        whether that is as expected. The diagnosis of a check that failed may take as long again.
    type: float
    default: 10
  kubeconfig:
    description:
      - The kubeconfig for O(checks[].kubernetes) and O(checks[].behind). Defaults to E(KUBECONFIG) or
        C(~/.kube/config).
    type: path
  context:
    description:
      - The kubeconfig's context. Defaults to its current one.
    type: str
  junit:
    description:
      - Where to write a JUnit report, replaced in one step. It says how long everything took, so it is different
        every time, and is never counted as a change. Not written in check mode.
    type: path
  suite:
    description:
      - The report's name.
    type: str
    default: smoke
requirements:
  - jmespath, for O(checks[].values)
  - kubernetes, for O(checks[].kubernetes) and O(checks[].behind)
attributes:
  check_mode:
    description: Sends only requests that read.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
notes:
  - The module never reports a change. What a request does that it was told to send is the check's business.
"""

EXAMPLES = r"""
- name: Wait for the nodes
  cicd.sandbox.health_check:
    kubeconfig: "{{ sandbox_kubeconfig }}"
    deadline: 120
    checks:
      - name: nodes
        kubernetes:
          kind: Node
          minimum: 3

- name: Prove that the website answers
  cicd.sandbox.health_check:
    kubeconfig: "{{ sandbox_kubeconfig }}"
    junit: "{{ sandbox_reports_directory }}/smoke.xml"
    checks:
      - name: website
        url: http://website.localhost:8080/
        contains: Quotes
        response_headers:
          content-type:
            contains: text/html
        max_time: 2
        behind:
          kind: Deployment
          namespace: apps
          name: front-end
      - name: quotes
        url: http://website.localhost:8080/api/quotes/?limit=5
        values:
          - query: length(items)
            gte: 1
            lte: 5
          - query: items[0].symbol
            matches: ^[A-Z]+$
      - name: registry asks for a password
        url: https://198.18.0.2:5000/v2/
        ca_path: "{{ sandbox_pki_directory }}/sandbox/ca.crt"
        status: 401
      - name: database
        kubernetes:
          kind: StatefulSet
          namespace: apps
          name: postgresql
"""

RETURN = r"""
results:
  description: What became of every check, in their order. Also returned when the module fails.
  returned: always, unless arguments are wrong
  type: list
  elements: dict
  contains:
    name:
      description: The check's name.
      type: str
      sample: website
    passed:
      description: Whether it passed.
      type: bool
    skipped:
      description: Whether it was not run, because of check mode.
      type: bool
    attempts:
      description: How often it was tried.
      type: int
      sample: 3
    elapsed:
      description: How many seconds all attempts took.
      type: float
      sample: 1.62
    status:
      description: Status of the last answer; null where there was none.
      type: int
      sample: 503
    reason:
      description: Why it did not pass, or was skipped; empty when it passed.
      type: str
      sample: status 503, expected 200
    diagnosis:
      description: What was received, and what ails the objects behind it; empty when it passed.
      type: list
      elements: str
      sample:
        - "received: status 503, text/plain, 19 bytes in 0.004 s"
        - "  no healthy upstream"
        - "Deployment apps/front-end: 0 of 2 replicas available"
"""

import datetime as dt
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.cicd.sandbox.plugins.module_utils.checks.arguments import (
    ArgumentError,
    CheckArguments,
    HttpArguments,
    KubernetesArguments,
    read_checks,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.checks.junit import report, write
from ansible_collections.cicd.sandbox.plugins.module_utils.checks.running import Runner, summary
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.api import KUBERNETES_IMPORT_ERROR, KubernetesApi

# Ansible would name a wrong suboption, but not the check that it is in: read_checks has its validator read each.
ARGUMENT_SPEC: dict[str, Any] = {
    "checks": {"type": "list", "elements": "dict", "required": True},
    "deadline": {"type": "float", "default": 60},
    "timeout": {"type": "float", "default": 10},
    "kubeconfig": {"type": "path"},
    "context": {"type": "str"},
    "junit": {"type": "path"},
    "suite": {"type": "str", "default": "smoke"},
}


def read_arguments(module: AnsibleModule) -> list[CheckArguments]:
    """Return the checks; ArgumentError names all that is wrong. Secrets are kept out of what is returned."""
    params = module.params
    problems = [f"{key}: {params[key]} is negative" for key in ("deadline", "timeout") if params[key] < 0]
    try:
        checks = read_checks(params["checks"], params["timeout"], params["deadline"])
    except ArgumentError as exc:
        problems += exc.problems
        checks = []
    kubeconfig = params["kubeconfig"]
    asks_cluster = any(isinstance(check.what, KubernetesArguments) for check in checks)
    if asks_cluster and kubeconfig and not Path(kubeconfig).is_file():
        problems.append(f"kubeconfig: {kubeconfig}: no such file")
    if problems:
        raise ArgumentError(problems)
    if asks_cluster and KUBERNETES_IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("kubernetes"), exception=KUBERNETES_IMPORT_ERROR)
    for check in checks:
        if isinstance(check.what, HttpArguments):
            module.no_log_values.update(check.what.secrets)
    return checks


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        checks = read_arguments(module)
    except ArgumentError as exc:
        module.fail_json(msg=str(exc))
    begin, begun = dt.datetime.now(dt.UTC), time.monotonic()
    api = KubernetesApi(module.params["kubeconfig"], module.params["context"], module.params["timeout"])
    results = Runner(api, only_read=module.check_mode).run(checks)
    returned = {"changed": False, "results": [result.as_dict() for result in results]}
    if module.params["junit"] and not module.check_mode:
        cases = [result.as_case() for result in results]
        content = report(module.params["suite"], cases, begin, time.monotonic() - begun)
        try:
            write(Path(module.params["junit"]), content)
        except OSError as exc:
            module.fail_json(msg=f"junit: {module.params['junit']}: can't be written: {exc.strerror}", **returned)
    if any(not result.passed and not result.skipped for result in results):
        module.fail_json(msg=summary(results), **returned)
    module.exit_json(**returned)


if __name__ == "__main__":
    main()
