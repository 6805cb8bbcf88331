# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of machines run alike whatever environment they are started in."""

from __future__ import annotations

from settled import settle


def pytest_configure() -> None:
    settle()
