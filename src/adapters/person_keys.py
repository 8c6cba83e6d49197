"""One random key per person, wrapped by the master key: to forget a person is to destroy the key.

AES-256-GCM throughout (NIST SP 800-38D) with 96-bit random nonces.
"""

import hmac
from collections.abc import Iterable
from hashlib import blake2b
from time import monotonic
from uuid import UUID, uuid4

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from adapters.chance import RandomBytes
from domain.personal import PersonErasedError

_NONCE = 12
_SECONDS_KEPT = 60.0
_SECONDS_OF_GRACE = 60.0  # longer than any load or save takes
_SECONDS_BETWEEN_SWEEPS = 10.0


class WrappedKey(msgspec.Struct, frozen=True):
    """A person's key as it is stored: `subject` finds the person's keys without telling who it is."""

    person: UUID
    subject: bytes
    wrapped: bytes


class WrongMasterKeyError(Exception):
    """A stored key cannot be unwrapped: CARILLON_MASTER_KEY is not the one these data were sealed with."""


class _Known(msgspec.Struct):
    cipher: AESGCM
    fresh: WrappedKey | None
    until: float


class PersonKeys:
    """The keys in use now. Kept for a minute at most, so that a key destroyed elsewhere is soon forgotten here too.

    A person met anew gets a new key, never a look-up: several keys of one person do no harm, for they share `subject`.
    What is absent reads as destroyed, so a key that anybody may be about to use is never dropped to make room.
    """

    def __init__(self, master_key: bytes) -> None:
        if len(master_key) != 32:
            raise ValueError("the master key must have 32 bytes")
        self._master = AESGCM(master_key)
        self._pepper = hmac.digest(master_key, b"carillon subject pepper", "sha256")
        self._random = RandomBytes()
        self._known: dict[UUID, _Known] = {}
        self._persons: dict[bytes, UUID] = {}
        self._swept_at = monotonic()

    def subject(self, tenant: str, address: str) -> bytes:
        """A keyed digest of who it is: equal for equal persons, telling nothing without the master key."""
        return blake2b(f"{tenant}\x00{address.strip().lower()}".encode(), key=self._pepper, digest_size=32).digest()

    def person(self, tenant: str, address: str) -> UUID:
        subject = self.subject(tenant, address)
        person = self._persons.get(subject)
        if person is None or (known := self._known.get(person)) is None or known.until < monotonic():
            person = self._new(subject)
        return person

    def seal(self, person: UUID, plain: bytes, place: bytes) -> bytes:
        """Nonce and ciphertext. Raises PersonErasedError when the key is gone."""
        known = self._known.get(person)
        if known is None:
            raise PersonErasedError(f"the key {person} is gone")
        nonce = self._random.take(_NONCE)
        return nonce + known.cipher.encrypt(nonce, plain, place)

    def unseal(self, person: UUID, box: bytes, place: bytes) -> bytes | None:
        """The plain bytes, or None when the key is gone. Raises InvalidTag when the box was tampered with or moved."""
        known = self._known.get(person)
        return known.cipher.decrypt(box[:_NONCE], box[_NONCE:], place) if known else None

    def unknown(self, persons: Iterable[UUID]) -> list[UUID]:
        """Those whose keys have to be loaded before anything of them can be read."""
        now = monotonic()
        return [p for p in persons if (known := self._known.get(p)) is None or (known.until < now and not known.fresh)]

    def check(self, stored: WrappedKey) -> None:
        """Raises WrongMasterKeyError unless this stored key was wrapped by our master key."""
        self._unwrap(stored.person, stored.wrapped)

    def load(self, asked: Iterable[UUID], rows: Iterable[tuple[UUID, bytes]]) -> None:
        """Take in stored keys; what was asked for and not found was destroyed."""
        for person in asked:
            self._known.pop(person, None)
        for person, wrapped in rows:
            self._keep(person, self._unwrap(person, wrapped), None)

    def fresh(self, persons: Iterable[UUID]) -> list[WrappedKey]:
        """The keys among these that no store has yet."""
        return [key for p in persons if (known := self._known.get(p)) and (key := known.fresh)]

    def stored(self, keys: Iterable[WrappedKey]) -> None:
        for key in keys:
            if known := self._known.get(key.person):
                known.fresh = None

    def forget(self, subject: bytes) -> None:
        """Drop what is in use here of one person."""
        if person := self._persons.pop(subject, None):
            self._known.pop(person, None)

    def _new(self, subject: bytes) -> UUID:
        person, key = uuid4(), AESGCM.generate_key(256)
        nonce = self._random.take(_NONCE)
        wrapped = nonce + self._master.encrypt(nonce, key, person.bytes)
        self._keep(person, key, WrappedKey(person, subject, wrapped))
        self._persons[subject] = person
        return person

    def _unwrap(self, person: UUID, wrapped: bytes) -> bytes:
        try:
            return self._master.decrypt(wrapped[:_NONCE], wrapped[_NONCE:], person.bytes)
        except InvalidTag:
            raise WrongMasterKeyError("CARILLON_MASTER_KEY does not fit the stored keys") from None

    def _keep(self, person: UUID, key: bytes, fresh: WrappedKey | None) -> None:
        now = monotonic()
        if now > self._swept_at + _SECONDS_BETWEEN_SWEEPS:
            self._sweep(now)
        self._known[person] = _Known(AESGCM(key), fresh, now + _SECONDS_KEPT)

    def _sweep(self, now: float) -> None:
        """Drop what nobody can be using any more; also what no store ever took."""
        self._swept_at = now
        self._known = {p: known for p, known in self._known.items() if known.until + _SECONDS_OF_GRACE > now}
        self._persons = {subject: person for subject, person in self._persons.items() if person in self._known}
