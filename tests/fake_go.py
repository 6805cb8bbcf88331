# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A `go` for tests: it knows modules in a folder and "compiles" by copying; no network.

modules/<name with _ for />@<version>/   the modules; a file `broken` in a package makes it fail to compile
calls.json                               one line for each call: arguments, folder, the GO… variables
slow                                     seconds that a build takes, if the file exists
"""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from pathlib import Path
from typing import Any

GO = """#!{python}
import sys
sys.path.insert(0, {folder!r})
from fake_go import main
main({home!r}, sys.argv[1:])
"""


def install(home: Path, version: str = "1.26.8") -> Path:
    """Put a fake toolchain at `home`; the folder with `go`."""
    binaries = home / "bin"
    binaries.mkdir(parents=True)
    go = binaries / "go"
    go.write_text(GO.format(python=sys.executable, folder=str(Path(__file__).parent), home=str(home)))
    go.chmod(go.stat().st_mode | stat.S_IEXEC)
    (home / "version").write_text(version)
    (home / "modules").mkdir()
    return binaries


def add_module(home: Path, name: str, version: str, files: dict[str, str]) -> None:
    """Publish a module."""
    root = home / "modules" / f"{name.replace('/', '_')}@{version}"
    for path, content in {"go.mod": f"module {name}\n", **files}.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
        target.chmod(0o444)


def calls(home: Path) -> list[dict[str, Any]]:
    """What was asked of it."""
    path = home / "calls.json"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def main(home: str, arguments: list[str]) -> None:
    root = Path(home)
    version = (root / "version").read_text()
    if arguments == ["version"]:
        sys.stdout.write(f"go version go{version} linux/amd64\n")
        return
    variables = {name: value for name, value in os.environ.items() if name.startswith(("GO", "CGO", "MARK"))}
    with (root / "calls.json").open("a", encoding="utf-8") as stream:
        stream.write(json.dumps({"argv": arguments, "cwd": str(Path.cwd()), "env": variables}) + "\n")
    if arguments == ["env", "GOVERSION"]:
        sys.stdout.write(f"go{version}\n")
    elif arguments[:2] == ["env", "-json"]:
        sys.stdout.write(json.dumps(settings(arguments[2:])))
    elif arguments[:3] == ["mod", "download", "-json"]:
        download(root, arguments[3])
    elif arguments == ["mod", "edit", "-json"]:
        sys.stdout.write((Path.cwd() / "edit.json").read_text())
    elif arguments[0] == "build":
        build(root, arguments)


def settings(names: list[str]) -> dict[str, str]:
    """Variables as Go has them: the environment's, else those of the file that GOENV names."""
    if os.environ.get("GOOS", "linux") != "linux":
        sys.stderr.write(f"go: unsupported GOOS/GOARCH pair {os.environ['GOOS']}/amd64\n")
        raise SystemExit(2)
    file = Path(os.environ.get("GOENV") or Path(os.environ["HOME"], ".config/go/env"))
    lines = file.read_text().splitlines() if str(file) != "off" and file.is_file() else []
    written = dict(line.split("=", 1) for line in lines)
    return {name: os.environ.get(name) or written.get(name, "") for name in names}


def download(root: Path, name: str) -> None:
    module, _, version = name.partition("@")
    folder = root / "modules" / f"{module.replace('/', '_')}@{version}"
    if not folder.is_dir():
        sys.stdout.write(json.dumps({"Path": module, "Version": version, "Error": "404 Not Found"}))
        raise SystemExit(1)
    sys.stdout.write(json.dumps({"Path": module, "Version": version, "Sum": f"h1:{module}", "Dir": str(folder)}))


def build(root: Path, arguments: list[str]) -> None:
    target = arguments[arguments.index("-o") + 1]
    packages = arguments[arguments.index("-o") + 2 :]
    slow = root / "slow"
    if slow.exists():
        time.sleep(float(slow.read_text()))
    for package in packages:
        name = package.rstrip("/").rpartition("/")[2]
        sys.stderr.write(f"example.com/{name}\n")
        if (Path.cwd() / package / "broken").exists():
            sys.stderr.write(f"# example.com/{name}\n{package}/main.go:7:2: undefined: frobnicate\n")
            raise SystemExit(1)
        output = Path(target) / name if target.endswith("/") else Path(target)
        output.write_text(f"program {package}\n")
