"""Which IP addresses belong to the public internet."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

# What IANA has set aside, spelt out: the ipaddress module's own answers differ from one Python to the next.
_NOT_PUBLIC = [
    ipaddress.ip_network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24"),
        *("192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
        *("224.0.0.0/4", "240.0.0.0/4"),
        "168.63.129.16/32",  # a cloud's own services, under an address that looks public
        *("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"),
    )
]
_PUBLIC_IPV6 = ipaddress.ip_network("2000::/3")
"""Nothing else is given out: IPv4 in disguise, local and multicast addresses all lie outside."""


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet: none that is private, local, reserved or disguised."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if parsed.version == 6 and parsed not in _PUBLIC_IPV6:
        return False
    return not any(parsed.version == network.version and parsed in network for network in _NOT_PUBLIC)


def is_in(address: str, networks: Iterable[str]) -> bool:
    """Whether an IP address lies in one of these networks, such as "10.1.0.0/16"."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    known = map(ipaddress.ip_network, networks)
    return any(parsed.version == network.version and parsed in network for network in known)
