#!/usr/bin/python
# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: private keys and certificates of a host."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: host_certificates
short_description: Keep private keys and certificates on a host, signed by a CA of the controller
version_added: 0.1.0
author: cicd.sandbox contributors (@cicd-sandbox)
description:
  - Looks at all certificates of a host in one task. A certificate is due when it is missing or can't be read, belongs
    to another key or CA, has another subject, other alternative names or usages, or ends soon.
  - For each one that is due it makes the private key, where there is no usable one, and returns a signing request.
    The key never leaves the host.
  - With O(authority_key) requests are signed on the controller, where the CA's key stays, and the certificates are
    installed, all in one task. Without it whoever called signs, and calls again with O(signed).
  - Writes O(authority) as C(ca.crt) beside them and sees to owner and mode of all files.
options:
  authority:
    description:
      - Certificate of the CA, PEM.
      - Where it is empty in check mode, as before a first run, all of O(certificates) is due.
    type: str
    required: true
  authority_key:
    description: File of the controller with the CA's private key.
    type: path
  days:
    description: How long what is signed is valid.
    type: int
    default: 365
  certificates:
    description: What this host is to have, as C(<directory>/<name>.key) and C(<directory>/<name>.crt).
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the files without their ending.
        type: str
        required: true
      directory:
        description: Where the files are; made when it is missing.
        type: str
        required: true
      common_name:
        description: The subject's common name.
        type: str
        required: true
      organization:
        description: The subject's organization; Kubernetes reads groups from it.
        type: str
        default: ""
      subject_alt_names:
        description: Names and addresses, written C(DNS:name) or C(IP:address).
        type: list
        elements: str
        default: []
      usages:
        description: Extended key usages.
        type: list
        elements: str
        choices: [serverAuth, clientAuth]
        default: [serverAuth]
      owner:
        description: Owner of directory and files; the user of the connection when it is not given.
        type: str
      group:
        description: Group of directory and files.
        type: str
  renew_before_days:
    description: A certificate that ends within so many days is due.
    type: int
    default: 30
  signed:
    description: Certificates to install, PEM, by their RV(requests[].path).
    type: dict
    default: {}
  watched:
    description:
      - Files whose certificates somebody else keeps, as patterns of the shell. They are looked at and left alone.
      - PEM, or kubeconfigs with a certificate in them or a file of one named there. What is missing is left out.
    type: list
    elements: path
    default: []
attributes:
  check_mode:
    description: Says which certificates are due, makes no key and returns no request.
    support: full
"""

EXAMPLES = r"""
- name: Keep the certificate of an etcd member
  cicd.sandbox.host_certificates:
    authority: "{{ lookup('ansible.builtin.file', 'pki/etcd/ca.crt') }}"
    authority_key: pki/etcd/ca.key
    certificates:
      - name: server
        directory: /etc/etcd/pki
        common_name: etcd-1
        subject_alt_names: ["DNS:etcd-1", "IP:198.18.0.11"]
        owner: etcd
        group: etcd
"""

RETURN = r"""
due:
  description: What was due and why; with O(signed), what still is.
  returned: always
  type: list
  elements: dict
  contains:
    path:
      description: Path of the files without their ending.
      type: str
    reason:
      description: Why.
      type: str
requests:
  description: A signing request for each certificate that is still due; empty in check mode.
  returned: always
  type: list
  elements: dict
  contains:
    path:
      description: Path of the files without their ending.
      type: str
    csr:
      description: The request, PEM.
      type: str
installed:
  description: Paths of the certificates that this call installed.
  returned: always
  type: list
  elements: str
watched:
  description: The certificates of O(watched), as M(cicd.sandbox.host_certificates_info) gives them.
  returned: always
  type: list
  elements: dict
"""

import os
import tempfile
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from ansible_collections.cicd.sandbox.plugins.module_utils.host import certificate_expiry as _expiry
    from ansible_collections.cicd.sandbox.plugins.module_utils.host import certificates as _certificates
    from ansible_collections.cicd.sandbox.plugins.module_utils.host.environment import settle
except ImportError as error:
    IMPORT_ERROR: ImportError | None = error
else:
    IMPORT_ERROR = None


def read(path: str) -> bytes | None:
    """Give the file's content, nothing when there is none."""
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        return None


class Files:
    """Writes files of one certificate with its owner, and counts whether anything changed."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.changed = False

    def directory(self, certificate: Mapping[str, Any]) -> None:
        """Make the directory of a certificate."""
        path = Path(certificate["directory"])
        if not path.is_dir():
            self.changed = True
            if self.module.check_mode:
                return
            path.mkdir(parents=True)
            self._attributes(str(path), "0755", certificate)

    def write(self, path: str, content: bytes, mode: str, certificate: Mapping[str, Any]) -> None:
        """Write a file whole, where its content differs."""
        if read(path) != content:
            self.changed = True
            if self.module.check_mode:
                return
            descriptor, temporary = tempfile.mkstemp(dir=str(Path(path).parent))
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
            self.module.atomic_move(temporary, path)
        self._attributes(path, mode, certificate)

    def keep(self, path: str, mode: str, certificate: Mapping[str, Any]) -> None:
        """See to owner and mode of a file that may be there."""
        if Path(path).exists():
            self._attributes(path, mode, certificate)

    def _attributes(self, path: str, mode: str, certificate: Mapping[str, Any]) -> None:
        for change, value in (
            (self.module.set_mode_if_different, mode),
            (self.module.set_owner_if_different, certificate["owner"]),
            (self.module.set_group_if_different, certificate["group"]),
        ):
            self.changed = bool(change(path, value, self.changed))


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "authority": {"type": "str", "required": True},
            # The action's: the CA's key is not for the host.
            "authority_key": {"type": "path"},
            "days": {"type": "int", "default": 365},
            "certificates": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "directory": {"type": "str", "required": True},
                    "common_name": {"type": "str", "required": True},
                    "organization": {"type": "str", "default": ""},
                    "subject_alt_names": {"type": "list", "elements": "str", "default": []},
                    "usages": {
                        "type": "list",
                        "elements": "str",
                        "choices": ["serverAuth", "clientAuth"],
                        "default": ["serverAuth"],
                    },
                    "owner": {"type": "str"},
                    "group": {"type": "str"},
                },
            },
            "renew_before_days": {"type": "int", "default": 30},
            "signed": {"type": "dict", "default": {}},
            "watched": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    if IMPORT_ERROR is not None:
        module.fail_json(msg=missing_required_lib("cryptography"), exception=str(IMPORT_ERROR))
    try:
        module.exit_json(**keep(module))
    except _certificates.CertificateError as error:
        module.fail_json(msg=str(error))


def keep(module: AnsibleModule) -> dict[str, Any]:
    """Install what was signed, then look what is due; give the module's result."""
    settle()
    files = Files(module)
    authority = module.params["authority"].encode().strip() + b"\n"
    renew_before = timedelta(days=module.params["renew_before_days"])
    due: list[dict[str, str]] = []
    requests: list[dict[str, str]] = []
    installed: list[str] = []
    for certificate in module.params["certificates"]:
        wanted = _certificates.Wanted(
            **{key: value for key, value in certificate.items() if key not in {"owner", "group"}}
        )
        files.directory(certificate)
        signed = module.params["signed"].get(wanted.path)
        if signed:
            files.write(f"{wanted.path}.crt", signed.encode(), "0644", certificate)
            installed.append(wanted.path)
        key = read(f"{wanted.path}.key")
        reason = _certificates.why_due(wanted, key, read(f"{wanted.path}.crt"), authority, renew_before)
        if reason:
            due.append({"path": wanted.path, "reason": reason})
            files.changed = True
        if reason and not module.check_mode:
            if key is None or not _certificates.usable_key(key):
                key = _certificates.new_key()
                files.write(f"{wanted.path}.key", key, "0600", certificate)
            requests.append({"path": wanted.path, "csr": _certificates.request(wanted, key)})
        files.keep(f"{wanted.path}.key", "0600", certificate)
        files.keep(f"{wanted.path}.crt", "0644", certificate)
        if Path(certificate["directory"]).is_dir():
            files.write(f"{wanted.directory.rstrip('/')}/ca.crt", authority, "0644", certificate)
    watched = _expiry.inspect(module.params["watched"], renew_before)
    return {"changed": files.changed, "due": due, "requests": requests, "installed": installed, "watched": watched}


if __name__ == "__main__":
    main()
