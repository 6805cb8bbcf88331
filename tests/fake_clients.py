# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""pip, npm, npx and mvn for tests: what they are asked for is in a folder; no network.

published/<name>   a folder (an npm package, a wheel) or a file (a jar) by the name that it is asked for, with _ for /
calls.json         one line for each call: program, arguments, folder, some variables
fail               words that npm and its like end with, if the file exists
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tarfile
from pathlib import Path
from typing import Any

SCRIPT = """#!{python}
import sys
sys.path.insert(0, {folder!r})
from fake_clients import main
main({home!r}, {program!r}, sys.argv[1:])
"""


def install(home: Path) -> Path:
    """Put the fake programs at `home`; the folder with them. `python` there is one whose pip is fake."""
    binaries = home / "bin"
    binaries.mkdir(parents=True)
    (home / "published").mkdir()
    for program in ("npm", "npx", "mvn", "python"):
        text = SCRIPT.format(python=sys.executable, folder=str(Path(__file__).parent), home=str(home), program=program)
        (binaries / program).write_text(text)
        (binaries / program).chmod(0o755)
    return binaries


def publish(home: Path, name: str, files: dict[str, str]) -> Path:
    """Publish a package of files, or a file (named "")."""
    root = home / "published" / name.replace("/", "_")
    for path, content in files.items():
        target = root / path if path else root
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
    return root


def calls(home: Path, program: str = "") -> list[dict[str, Any]]:
    """What was asked, of one program or of all."""
    path = home / "calls.json"
    found = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [call for call in found if program in ("", call["program"])]


def main(home: str, program: str, arguments: list[str]) -> None:
    root = Path(home)
    variables = {name: value for name, value in os.environ.items() if name.startswith(("npm_", "MARK", "PATH"))}
    call = {"program": program, "argv": arguments, "cwd": str(Path.cwd()), "env": variables}
    with (root / "calls.json").open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(call) + "\n")
    if (root / "fail").exists():
        sys.stderr.write((root / "fail").read_text())
        raise SystemExit(1)
    if program == "python":
        unpack_wheels(root, arguments)
    elif program == "npm" and arguments[0] == "pack":
        pack(root, arguments)
    elif program == "mvn":
        copy_jar(root, arguments)


def unpack_wheels(root: Path, arguments: list[str]) -> None:
    target = Path(arguments[arguments.index("--target") + 1])
    for line in Path(arguments[arguments.index("--requirement") + 1]).read_text().splitlines():
        shutil.copytree(root / "published" / line.split()[0], target, dirs_exist_ok=True)


def pack(root: Path, arguments: list[str]) -> None:
    target = Path(arguments[arguments.index("--pack-destination") + 1]) / "packed.tgz"
    folder = root / "published" / arguments[-1].replace("/", "_")
    with tarfile.open(target, "w") as tar:
        for path in sorted(folder.rglob("*")):
            info = tar.gettarinfo(path, arcname=f"package/{path.relative_to(folder)}")
            info.mtime = 0
            if path.is_file():
                with path.open("rb") as stream:
                    tar.addfile(info, stream)


def copy_jar(root: Path, arguments: list[str]) -> None:
    asked = dict(word.removeprefix("-D").split("=", 1) for word in arguments if word.startswith("-D"))
    target = Path(asked["outputDirectory"])
    target.mkdir(parents=True)
    shutil.copy(root / "published" / asked["artifact"], target / "upstream-1.0.jar")
