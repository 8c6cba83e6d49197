"""All the texts that one notification needs, as one document with one hash."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Protocol

import msgspec

# A sentence, or its forms by the plural categories of Unicode ("one", "few", "many", "other").
Sentence = str | dict[str, str]


class Bundle(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A template in one language with its layouts, partials and sentences.

    `parts` names the source of each part of the content; `sources` are final: whatever is done to a file once,
    such as inlining the style sheet, is done before, so that a later version of the tools changes nothing.
    One that a `tenant` wrote, which names it, is rendered in the sandbox alone; our own name none.
    """

    format: int = 1
    name: str
    language: str
    variables: list[str]
    parts: dict[str, str]
    sources: dict[str, str]
    sentences: dict[str, Sentence]
    tenant: str | msgspec.UnsetType = msgspec.UNSET


class BundleArchive(Protocol):
    """Every bundle there ever was, by its version. What was accepted once can be rendered for ever."""

    async def put(self, bundles: Mapping[str, bytes]) -> None:
        """Keep these, durably, all or none. A version that is there already stays as it is."""

    async def get(self, version: str) -> bytes | None:
        """The bundle with this version, byte for byte, or None."""


def encode(bundle: Bundle) -> bytes:
    """Equal bundles make equal bytes."""
    return _encoder.encode(bundle)


def decode(document: bytes) -> Bundle:
    """Raises msgspec.DecodeError for anything that is not a bundle."""
    return _decoder.decode(document)


def version(document: bytes) -> str:
    return sha256(document).hexdigest()


_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(Bundle)
