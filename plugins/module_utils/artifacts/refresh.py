# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Security updates of kept images: a base that is too old is made anew, and with it all that starts from it."""

from __future__ import annotations

from datetime import datetime, timedelta

from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.cache import STAMP
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.catalogue import Catalogue, ImagePlan
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.image import generation_file
from ansible_collections.cicd.sandbox.plugins.module_utils.host import files


def outdated(catalogue: Catalogue, days: int, now: datetime) -> list[ImagePlan]:
    """The bases in the cache that were made more than `days` ago; none where `days` is 0. `now` has a time zone."""
    found = []
    for plan in catalogue.plans(catalogue.names) if days else []:
        for image in plan.images:
            if image.base and image.entry.present():
                made = datetime.fromtimestamp((image.entry.directory / STAMP).stat().st_mtime, now.tzinfo)
                if now - made > timedelta(days=days):
                    found.append(image)
    return found


def refresh(catalogue: Catalogue, days: int, now: datetime, dry_run: bool = False) -> list[str]:
    """Have bases that are too old made anew; their names.

    They are not made here: a catalogue that is read afterwards lacks them and what starts from them.
    """
    found = outdated(catalogue, days, now)
    for image in [] if dry_run else found:
        files.write(generation_file(catalogue.cache, image.reference), f"{now.date().isoformat()}\n")
    return [str(image.reference) for image in found]
