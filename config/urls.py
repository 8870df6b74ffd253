"""URLs in the configuration: of the API server, of AWS, of who knows people's accounts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Any
from urllib.parse import urlsplit

from config.validation import shown, text

# A name of DNS with the form of host names, which have no underscore: certificates and TLS clients know no
# other. Sources: RFC 1123, 2.1; RFC 1035, 2.3.4 (lengths).
_LABEL = r"[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_LONGEST_HOST = 253


def url(raw: Any, schemes: Sequence[str], *, path: bool = True) -> str:
    """A URL of one of `schemes` with host, port and, unless `path` is False, path; no slash at its end.

    Raises: ValueError with what is wrong.
    """
    if re.search(r"[^!-~]", text(raw)):
        raise ValueError(f"{shown(raw)} has a space, or a character that a URL has not")
    try:
        parts = urlsplit(raw)
        port, host = parts.port, parts.hostname or ""
    except ValueError as error:  # a port that is no number or too large, half a bracket
        raise ValueError(f"{shown(raw)} is not a URL ({error})") from None
    if parts.scheme not in schemes or not host:
        raise ValueError(f"{shown(raw)} is not an {' or '.join(schemes)} URL")
    if "@" in parts.netloc:  # not shown: a password may be in it
        raise ValueError("has a user before the host")
    if not _is_host(host, bracketed="[" in parts.netloc):
        raise ValueError(f"{host} is not the name or the address of a host")
    if port == 0 or parts.netloc.endswith(":"):
        raise ValueError(f"{shown(raw)} has no port after the colon")
    if parts.query or parts.fragment or raw[-1] in "?#" or (parts.path not in ("", "/") and not path):
        raise ValueError(f"{shown(raw)} says more than host and port" + (" and path" if path else ""))
    return str(raw).rstrip("/")


def _is_host(host: str, *, bracketed: bool) -> bool:
    try:
        if bracketed:
            return bool(IPv6Address(host))
        if host.rpartition(".")[2].isdigit():  # it would be taken for an address
            return bool(IPv4Address(host))
    except AddressValueError:
        return False
    return len(host) <= _LONGEST_HOST and _HOST.fullmatch(host) is not None
