# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action: make a certificate authority; documented in plugins/modules/certificate_authority.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.cicd.sandbox.plugins.module_utils.host import files
from ansible_collections.cicd.sandbox.plugins.module_utils.host.certificates import (
    CertificateError,
    new_authority,
    new_key,
)


class ActionModule(ActionBase):
    """Works in this process, so that the key is known to no other."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Make what is missing: the key first, since a certificate says that the CA is there."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            {
                "directory": {"type": "path", "required": True},
                "common_name": {"type": "str", "required": True},
                "organization": {"type": "str", "required": True},
                "days": {"type": "int", "default": 3650},
            }
        )
        directory = Path(arguments["directory"])
        key, certificate = directory / "ca.key", directory / "ca.crt"
        made = [str(path) for path in (key, certificate) if not path.is_file()]
        result |= {"changed": bool(made), "made": made}
        if self._task.check_mode:
            return result
        try:
            missing = [path for path in (directory, *directory.parents) if not path.exists()]
            for path in reversed(missing):
                path.mkdir(mode=0o700)
            if str(key) in made:
                files.write(key, new_key().decode(), 0o600, sync=True)
            if str(certificate) in made:
                names = arguments["common_name"], arguments["organization"]
                text = new_authority(*names, key.read_bytes(), arguments["days"]).decode()
                files.write(certificate, text, sync=True)
        except (OSError, CertificateError) as error:
            return {**result, "failed": True, "msg": f"{directory}: {error}"}
        return result
