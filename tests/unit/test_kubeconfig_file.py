# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file of a kubeconfig: locks, links, owners, half-written files."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from pathlib import Path

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.kubeconfig import file as kubeconfig_file
from ansible_collections.cicd.sandbox.plugins.module_utils.kubeconfig.file import KubeconfigFile
from ansible_collections.cicd.sandbox.plugins.module_utils.kubeconfig.merging import KubeconfigError


@pytest.fixture
def file(tmp_path: Path) -> KubeconfigFile:
    return KubeconfigFile(str(tmp_path / "config"))


def test_lock_is_that_of_kubectl(file: KubeconfigFile) -> None:
    lock = file.path.with_name("config.lock")
    with file.locked(0):
        assert stat.S_IMODE(lock.stat().st_mode) == 0
    assert not lock.exists()


def test_lock_is_given_back_after_an_error(file: KubeconfigFile) -> None:
    with pytest.raises(RuntimeError), file.locked(0):
        raise RuntimeError
    assert not file.path.with_name("config.lock").exists()


def test_link_and_target_are_both_locked(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("real")
    file = KubeconfigFile(str(tmp_path / "link"))
    (tmp_path / "real.lock").touch()
    with pytest.raises(KubeconfigError, match=r"real\.lock"), file.locked(0):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real.lock"]


def test_waits_for_the_lock(file: KubeconfigFile, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = file.path.with_name("config.lock")
    lock.touch()
    monkeypatch.setattr(kubeconfig_file.time, "sleep", lambda _seconds: lock.unlink())
    with file.locked(60):
        assert lock.exists()


def test_link_in_a_circle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(KubeconfigError, match="too many symbolic links"):
        KubeconfigFile(str(tmp_path / "a"))


def test_missing_says_what_is_to_be_made(tmp_path: Path) -> None:
    assert KubeconfigFile(str(tmp_path / "a/config")).missing() == "directory"
    assert KubeconfigFile(str(tmp_path / "config")).missing() == "file"
    (tmp_path / "config").touch()
    assert KubeconfigFile(str(tmp_path / "config")).missing() == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_owner_and_mode_stay(file: KubeconfigFile) -> None:
    file.path.touch(mode=0o640)
    os.chown(file.path, 1234, 2345)
    file.write("new")
    after = file.path.stat()
    assert (after.st_uid, after.st_gid, stat.S_IMODE(after.st_mode)) == (1234, 2345, 0o640)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_in_a_users_home_root_makes_files_of_the_users(tmp_path: Path) -> None:
    """With sudo, where that keeps HOME."""
    os.chown(tmp_path, 1234, 2345)
    file = KubeconfigFile(tmp_path / "a/.kube/config")
    with file.locked(0):
        file.write("new")
    for path in (file.path, *list(file.path.parents)[:2]):
        assert (path.stat().st_uid, path.stat().st_gid) == (1234, 2345)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700


def test_others_lose_their_rights_where_it_is_to_be_private(file: KubeconfigFile) -> None:
    assert file.mode() is None
    file.path.touch()
    file.path.chmod(0o644)
    file.write("new", private=True)
    assert file.mode() == 0o600
    file.path.chmod(0o755)
    file.restrict()
    assert file.mode() == 0o700


def test_owner_that_cannot_stay_is_named(file: KubeconfigFile, monkeypatch: pytest.MonkeyPatch) -> None:
    file.path.write_text("old", encoding="utf-8")

    def refuse(*_arguments: object) -> None:
        raise PermissionError

    fstat = os.fstat

    def another_owners(descriptor: int) -> os.stat_result:
        return os.stat_result((*fstat(descriptor)[:4], 77, 77, *fstat(descriptor)[6:10]))

    monkeypatch.setattr(kubeconfig_file.os, "fchown", refuse)
    monkeypatch.setattr(kubeconfig_file.os, "fstat", another_owners)
    with pytest.raises(KubeconfigError, match="which can't be kept as uid 77; nothing was changed"):
        file.write("new")
    assert [path.name for path in file.path.parent.iterdir()] == ["config"]
    assert file.read() == "old"


def test_a_failing_write_leaves_the_old_file(file: KubeconfigFile, monkeypatch: pytest.MonkeyPatch) -> None:
    file.path.write_text("old", encoding="utf-8")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kubeconfig_file.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        file.write("new")
    assert [path.name for path in file.path.parent.iterdir()] == ["config"]
    assert file.read() == "old"


def test_what_is_not_text_is_refused(file: KubeconfigFile) -> None:
    file.path.write_bytes(b"a: b\nc: \xff\n")
    with pytest.raises(KubeconfigError, match="line 2: is not UTF-8"):
        file.read()


def test_file_mounted_by_itself_is_written_in_its_place(file: KubeconfigFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's view of one file of the host: nothing can take its place."""
    file.path.write_text("something longer than the new one", encoding="utf-8")
    file.path.chmod(0o640)
    inode = file.path.stat().st_ino

    def busy(_path: Path, _target: Path) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(Path, "replace", busy)
    file.write("new", private=True)
    assert file.read() == "new"
    assert (file.path.stat().st_ino, file.mode()) == (inode, 0o600)
    assert [path.name for path in file.path.parent.iterdir()] == ["config"]

    def full(*_arguments: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(kubeconfig_file.os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        file.write("another one")
    assert file.read() == "new"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_directory_that_cannot_be_written_is_named(file: KubeconfigFile) -> None:
    file.path.parent.chmod(0o500)
    with pytest.raises(KubeconfigError, match="can't be written by uid"):
        file.check_changeable(0)


def test_another_owner_is_named(file: KubeconfigFile, monkeypatch: pytest.MonkeyPatch) -> None:
    file.path.touch()
    file.check_changeable(0)
    monkeypatch.setattr(kubeconfig_file.os, "geteuid", lambda: file.path.stat().st_uid + 1)
    with pytest.raises(KubeconfigError, match=r"belongs to uid \d+, gid \d+, which can't be kept as uid \d+; nothing"):
        file.check_changeable(0)


def test_a_file_that_is_mounted_read_only_is_named(file: KubeconfigFile, monkeypatch: pytest.MonkeyPatch) -> None:
    file.path.touch()
    read_only = os.statvfs_result((*(0,) * 8, os.ST_RDONLY, 255))
    statvfs = os.statvfs
    monkeypatch.setattr(
        kubeconfig_file.os, "statvfs", lambda path: read_only if Path(path) == file.path else statvfs(path)
    )
    with pytest.raises(KubeconfigError, match="config is on a read-only file system; nothing was changed"):
        file.check_changeable(0)


@pytest.mark.parametrize(("flag", "words"), [("i", "immutable"), ("a", "append-only")])
def test_attributes_that_keep_root_from_changing_it_are_named(file: KubeconfigFile, flag: str, words: str) -> None:
    file.path.touch()
    if subprocess.run(["chattr", f"+{flag}", file.path], capture_output=True, check=False).returncode:
        pytest.skip("only root may set attributes, and not every file system has them")
    try:
        with pytest.raises(KubeconfigError, match=f"{file.path} is {words}"):
            file.check_changeable(0)
    finally:
        subprocess.run(["chattr", f"-{flag}", file.path], check=True)


def test_a_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(KubeconfigError, match="Is a directory, not a file"):
        KubeconfigFile(str(tmp_path)).read()


def test_directory_goes_only_when_empty(tmp_path: Path) -> None:
    file = KubeconfigFile(str(tmp_path / ".kube/config"))
    file.path.parent.mkdir()
    (file.path.parent / "cache").touch()
    file.delete_directory()
    assert file.path.parent.is_dir()
    (file.path.parent / "cache").unlink()
    file.delete_directory()
    assert not file.path.parent.exists()
