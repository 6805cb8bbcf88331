# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the host's own packet filter means for machines that are made on it."""

from __future__ import annotations

from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn import firewall
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn.system import NspawnError
from ansible_collections.cicd.sandbox.plugins.module_utils.preflight.findings import Finding

# Programs that write their chains anew when they are told to, and the sandbox's rules in them are gone then.
REMEDIES = {
    "firewalld": "To keep them: firewall-cmd --permanent --zone=trusted --add-interface={bridge}.",
    "ufw": "To keep them: ufw route allow in on {bridge} out on {bridge}.",
}


def check_packet_filter(host: str, sandbox: str, bridge: str) -> list[Finding]:
    """Find chains that part machines and take no rules of the sandbox's, and warn of programs that drop those rules.

    Raises:
        NspawnError: the filter can't be read.
    """
    accepted = firewall.Accepted(sandbox, bridge)
    try:
        firewall.lacking(accepted)
    except NspawnError as error:
        if "firewalld" not in str(error):
            raise
        said, _, remedy = str(error).partition(". ")
        return [Finding(host, said, "nft list ruleset", f"{remedy}.")]
    return [
        Finding(
            host,
            f"{program} manages its packet filter, and when that is read anew the sandbox's rules for {bridge} go",
            "nft list ruleset",
            f"The next run writes them again. {REMEDIES[program].format(bridge=bridge)}",
            warning=True,
        )
        for program in sorted(firewall.managers(accepted))
        if program in REMEDIES
    ]
