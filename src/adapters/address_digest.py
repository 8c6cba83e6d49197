"""Addresses as lists keep them: found again by whoever knows the address and the master key, and by nobody else."""

import hmac
from collections.abc import Callable
from hashlib import blake2b

from domain.vocabulary import Channel


def address_digests(master_key: bytes) -> Callable[[str, Channel, str], str]:
    """By tenant, channel and address, in hexadecimal; upper and lower case are the same address."""
    pepper = hmac.digest(master_key, b"carillon address pepper", "sha256")

    def digest(tenant: str, channel: Channel, address: str) -> str:
        said = f"{tenant}\x00{channel}\x00{address.strip().casefold()}".encode()
        return blake2b(said, key=pepper, digest_size=16).hexdigest()

    return digest
