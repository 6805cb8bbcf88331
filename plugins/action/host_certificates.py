# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action: keep certificates on a host, signed on the controller; documented in plugins/modules/host_certificates.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.cicd.sandbox.plugins.module_utils.host.certificates import (
    CertificateError,
    authority_warning,
    sign,
)

MODULE = "cicd.sandbox.host_certificates"


class ActionModule(ActionBase):
    """Asks the host what is due, signs it in this process, so that the CA's key stays here, and installs it."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what the module found and, where O(authority_key) is given, what it installed."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        key = arguments.pop("authority_key", None)
        days = arguments.pop("days", 365)
        if not str(days).isdecimal():
            return {**result, "failed": True, "msg": f"days is {days!r}; it has to be a number of days"}
        days = int(days)
        if self._task.check_mode and not arguments.get("authority"):
            due = [
                {"path": f"{item['directory'].rstrip('/')}/{item['name']}", "reason": "there is no authority yet"}
                for item in arguments.get("certificates") or []
            ]
            nothing: dict[str, Any] = {"requests": [], "installed": [], "watched": []}
            return {**result, "changed": bool(due), "due": due, **nothing}
        found = self._execute_module(module_name=MODULE, module_args=arguments, task_vars=task_vars)
        if key is not None and not found.get("failed"):
            self._warn_of_authority(found, str(arguments["authority"]), days)
        requests = found.get("requests") or []
        if found.get("failed") or not requests or key is None:
            return {**result, **found}
        try:
            key_pem = Path(str(key)).expanduser().read_bytes()
            authority = str(arguments["authority"]).encode()
            signed = {item["path"]: sign(item["csr"], authority, key_pem, days) for item in requests}
        except (OSError, CertificateError) as error:
            return {**result, **found, "failed": True, "msg": f"{key}: {error}"}
        installed = self._execute_module(
            module_name=MODULE, module_args={**arguments, "signed": signed}, task_vars=task_vars
        )
        # Why it was issued is what the first look says.
        told = {name: found[name] for name in ("due", "warnings") if name in found}
        return {**result, **installed, **told, "changed": True}

    @staticmethod
    def _warn_of_authority(found: dict[str, Any], authority: str, days: int) -> None:
        warning = authority_warning(authority.encode(), days)
        if warning:
            found["warnings"] = [*found.get("warnings", []), warning]
