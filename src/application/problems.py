"""What a caller did wrong, in words the edge turns into an answer."""

import msgspec


class Problem(msgspec.Struct, frozen=True):
    """`path` says where in the request, such as `recipients[3].email`."""

    path: str
    message: str


class InvalidCommandError(Exception):
    """The command cannot be accepted; `problems` names every reason found."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(f"{p.path}: {p.message}".removeprefix(": ") for p in problems))
        self.problems = problems


class NotFoundError(Exception):
    """There is no such thing, or it is another tenant's: nobody can tell which."""


class KeyReusedError(Exception):
    """The idempotency key belongs to a request with another body."""


class EventIdReusedError(KeyReusedError):
    """The id belongs to another event."""
