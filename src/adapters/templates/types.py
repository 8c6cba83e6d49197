"""The notification types, each in a file of its own, and the branding variables that all of them take."""

from pathlib import Path
from typing import TypeVar

import msgspec

from adapters.templates.environment import GIVEN
from adapters.templates.problems import TemplateFolderError
from domain.own_template import is_own_name
from domain.template import InvalidVariablesError, NotificationType, Variable, check_variables
from domain.template import examples as examples
from domain.vocabulary import Priority, Purpose

T = TypeVar("T")


class _Branding(msgspec.Struct, forbid_unknown_fields=True):
    variables: dict[str, Variable] = {}


class _TypeFile(msgspec.Struct, forbid_unknown_fields=True):
    description: str
    category: str
    purpose: Purpose
    priority: Priority
    variables: dict[str, Variable] = {}


def read_types(folder: Path) -> list[NotificationType]:
    """Those of `folder`/types by name. Raises TemplateFolderError."""
    branding = _read(folder / "branding.toml", _Branding).variables
    return [_read_type(file, branding) for file in sorted((folder / "types").glob("*.toml"))]


def _read_type(file: Path, branding: dict[str, Variable]) -> NotificationType:
    said = _read(file, _TypeFile)
    type_ = NotificationType(
        name=file.stem,
        category=said.category,
        purpose=said.purpose,
        priority=said.priority,
        description=said.description,
        variables=said.variables | {name: v for name, v in branding.items() if name not in said.variables},
    )
    _check(file, type_)
    return type_


def _read(file: Path, kind: type[T]) -> T:
    try:
        return msgspec.toml.decode(file.read_bytes(), type=kind)
    except FileNotFoundError:
        raise TemplateFolderError(file, "is missing") from None
    except (msgspec.DecodeError, ValueError) as error:
        raise TemplateFolderError(file, str(error)) from error


def _check(file: Path, type_: NotificationType) -> None:
    if is_own_name(type_.name):
        raise TemplateFolderError(file, "has a hyphen in its name: such names belong to the tenants")
    for name in type_.variables:
        if not name.isidentifier() or name != name.lower() or name in GIVEN:
            raise TemplateFolderError(file, f"{name!r} cannot be the name of a variable")
    try:
        check_variables(type_, examples(type_))
    except InvalidVariablesError as error:
        raise TemplateFolderError(file, f"the examples do not fit: {error}") from error
