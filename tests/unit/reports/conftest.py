# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where hypothesis keeps what it knows: beside what else is made here, and out of the collection's archive."""

from __future__ import annotations

from checkout import REPOSITORY
from hypothesis.configuration import set_hypothesis_home_dir

set_hypothesis_home_dir(str(REPOSITORY / "build" / "hypothesis"))
