"""Where a webhook may go: only to public addresses, or to networks the settings allow.

A name is resolved once, every address it has must be allowed, and the connection is made to the address that was
checked: what the name resolves to a moment later (DNS rebinding) does not matter.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from django.conf import settings

MAX_URL_LENGTH = 2000
PORTS = {"http": 80, "https": 443}
# IPv6 networks whose addresses carry an IPv4 address in their last 32 bits.
_TRANSLATOR = ip_network("64:ff9b::/96")
_CARRIERS = (_TRANSLATOR, ip_network("::/96"))
_GLOBAL_UNICAST = ip_network("2000::/3")

Address = IPv4Address | IPv6Address


class AddressRefused(ValueError):
    """The address is no webhook's; the message says why."""


@dataclass(frozen=True)
class Target:
    """A checked URL. `path` has the query; `host` is as in the URL, for the Host header and the certificate."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"


def target_parse(url: str) -> Target:
    """The parts of a URL a webhook may have. Raises AddressRefused."""
    if len(url) > MAX_URL_LENGTH or not re.fullmatch(r"[\x21-\x7e]+", url):
        raise AddressRefused("must be a URL in ASCII, without blanks, of at most 2,000 characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise AddressRefused("is not a URL") from None
    if parts.scheme not in PORTS:
        raise AddressRefused("must begin with https:// or http://")
    if parts.username is not None or parts.password is not None:
        raise AddressRefused("must not carry a user name or a password")
    if not parts.hostname or "%" in parts.hostname:
        raise AddressRefused("names no host")
    if parts.fragment:
        raise AddressRefused("must not have a fragment")
    if port == 0:
        raise AddressRefused("has no port 0 to connect to")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, parts.hostname, port or PORTS[parts.scheme], path)


def addresses_resolve(target: Target) -> list[str]:
    """The addresses of the host, all of them allowed. Raises AddressRefused, or OSError when there are none."""
    found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    for address in addresses:
        check_address(address)
    return addresses


def check_address(text: str) -> None:
    address = ip_address(text.split("%")[0])
    if not is_allowed(address):
        raise AddressRefused(f"{address} is not a public address (WEBHOOK_ALLOWED_NETWORKS can allow it)")


def is_allowed(address: Address) -> bool:
    """Public and unicast, also what an IPv6 address leads to behind a translator; or allowed by the settings."""
    plain = _embedded(address)
    networks = settings.WEBHOOK_ALLOWED_NETWORKS
    if any(
        each.version == network.version and each in network
        for network in networks
        for each in (address, plain)
    ):
        return True
    # The IPv6 spelling of an IPv4 address (::ffff:a.b.c.d) says nothing by itself: the IPv4 address is judged.
    is_spelling = isinstance(address, IPv6Address) and address.ipv4_mapped is not None
    return _is_public(plain) and (is_spelling or _is_public(address))


def _is_public(address: Address) -> bool:
    """Of IPv6 only what is assigned for that: `is_global` takes the rest for public too, site-local addresses and the
    translators of one's own network (64:ff9b:1::/48) among them."""
    if isinstance(address, IPv4Address):
        return address.is_global and not address.is_multicast and not address.is_reserved
    return address.is_global and (address in _GLOBAL_UNICAST or address in _TRANSLATOR)


def _embedded(address: Address) -> Address:
    """The IPv4 address an IPv6 one stands for (mapped, 6to4, NAT64, Teredo), else the address."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if any(address in carrier for carrier in _CARRIERS):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address
