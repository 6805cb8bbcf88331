# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action: publish components; documented in plugins/modules/artifacts_publish.py."""

from __future__ import annotations

import shlex
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.cache import SUMS, ArtifactError
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.catalogue import (
    CATALOGUE_SPEC,
    ComponentPlan,
    open_catalogue,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.publish import (
    Server,
    cached_plans,
    compare,
    layouts,
    link_tools,
    push_images,
    sums_text,
)


class ActionModule(ActionBase):
    """Runs on the controller; files go to the task's host over the task's own connection."""

    # Not by Ansible's own means: it would make a remote folder even where there is nothing to transfer.
    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Publish what differs."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            {
                "catalogue": {"type": "dict", "required": True, "options": CATALOGUE_SPEC},
                "names": {"type": "list", "elements": "str", "required": True},
                "look_at": {"type": "list", "elements": "str", "default": []},
                "store_url": {"type": "str", "required": True},
                "store_directory": {"type": "path", "required": True},
                "registry": {"type": "str", "required": True},
                "registry_user": {"type": "str", "required": True},
                "registry_password_file": {"type": "path", "required": True},
                "ca_path": {"type": "path", "required": True},
                "tools_directory": {"type": "path", "required": True},
            }
        )
        try:
            return {**result, **self._publish(arguments)}
        except FileNotFoundError as error:
            hint = "the role registry makes it: run with its tag first"
            return {**result, "failed": True, "msg": f"{error.filename} is not there; {hint}"}
        except (ArtifactError, OSError) as error:
            return {**result, "failed": True, "msg": str(error)}

    def _publish(self, arguments: dict[str, Any]) -> dict[str, Any]:
        catalogue = open_catalogue(arguments["catalogue"])
        wanted = catalogue.plans(arguments["names"])
        known = [*wanted, *cached_plans(catalogue, set(arguments["look_at"]) - set(arguments["names"]))]
        finding: dict[str, Any] = {
            "paths": {plan.name: str(plan.entry.directory) for plan in known if plan.entry},
            "tags": {plan.name: image.reference.tag for plan in known for image in plan.images if image.own},
            "layouts": layouts(known),
            "unmade": sorted(set(arguments["look_at"]) - {plan.name for plan in known}),
        }
        if any(not entry.present() for plan in wanted for entry in plan.entries):
            if not self._task.check_mode:
                raise ArtifactError("publishing comes after waiting: some components are not in the cache")
            return {**finding, "changed": True, "files": [], "images": [], "tools": [], "current": []}
        ca = Path(arguments["ca_path"])
        store = Server(arguments["store_url"], ca)
        password = Path(arguments["registry_password_file"]).read_text().strip()
        registry = Server(f"https://{arguments['registry']}", ca, arguments["registry_user"], password)
        difference = compare(store, registry, known)
        stale = [plan for plan in difference.files if plan in wanted]
        missing = [image for plan in wanted for image in plan.images if image in difference.images]
        tools_directory = Path(arguments["tools_directory"])
        tools = link_tools(wanted, tools_directory, dry_run=self._task.check_mode)
        finding |= {
            "files": [plan.name for plan in stale],
            "images": [image.reference.mirrored for image in missing],
            "tools": tools,
            "changed": bool(stale or missing or tools),
            "current": sorted({plan.name for plan in wanted} | difference.current(known, tools_directory)),
        }
        if not self._task.check_mode:
            with ThreadPoolExecutor(max_workers=1) as pool:
                pushed = pool.submit(push_images, registry, missing)
                for plan in stale:
                    self._upload(plan, arguments["store_directory"])
                finding["images"] = pushed.result()
        return finding

    def _upload(self, plan: ComponentPlan, directory: str) -> None:
        """Transfer a component's files beside their folder in the store, then put them in its place."""
        entry = plan.entry
        if entry is None:
            return
        damage = entry.damage(thorough=True)
        if damage:
            raise ArtifactError(f"{entry.directory} is damaged: {damage}; the next run makes it again")
        incoming = f"{directory}/.incoming-{plan.name}"
        target = f"{directory}/{plan.name}/{plan.version}"
        owner = self._connection.get_option("remote_user") if self._connection.has_option("remote_user") else None
        self._shell("rm", "-rf", incoming)
        self._shell("install", "-d", *(["-o", owner] if owner else []), incoming)
        for name in plan.files:
            self._connection.put_file(str(entry.directory / name), f"{incoming}/{name}")
        with tempfile.NamedTemporaryFile("w", encoding="utf-8") as sums:
            sums.write(sums_text(plan))
            sums.flush()
            self._connection.put_file(sums.name, f"{incoming}/{SUMS}")
        self._shell("chown", "-R", "root:root", incoming)
        self._shell("chmod", "-R", "u=rwX,go=rX", incoming)
        self._shell("rm", "-rf", target)
        self._shell("install", "-d", f"{directory}/{plan.name}")
        self._shell("mv", incoming, target)

    def _shell(self, *argv: str) -> None:
        answer = self._low_level_execute_command(shlex.join(argv), sudoable=True)
        if answer.get("rc") != 0:
            raise ArtifactError(
                f"{argv[0]} on the store's host: {answer.get('stderr') or answer.get('stdout')}".strip()
            )
