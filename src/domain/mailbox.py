"""Where mail comes from and goes to."""

import msgspec


class Mailbox(msgspec.Struct, frozen=True):
    """An address with the name shown beside it."""

    address: str
    name: str | None = None
