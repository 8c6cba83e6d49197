"""Schemas of tenants, checked by where it costs nobody else anything."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from adapters.templates.sandbox import Sandbox
from application.problems import Problem
from domain.template import RenderError


class SandboxedSchemas:
    """Implements the port PayloadSchemas."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def problems(self, tenant: str, schema: Mapping[str, Any], data: Any) -> Sequence[Problem]:
        try:
            return await self._sandbox.misfits(tenant, msgspec.json.encode(schema), msgspec.json.encode(data))
        except RenderError as error:
            raise ValueError(str(error)) from None
