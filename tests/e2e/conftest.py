"""One running service for each module, and a tenant of its own for each test."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.application import RESEND_SECRET, Service, Tenant, running
from tests.databases import new_database


@pytest.fixture(scope="module")
def database_of_module(postgres: str, migrated: str) -> Iterator[str]:
    with new_database(postgres, like=migrated) as conninfo:
        yield conninfo


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(database_of_module: str) -> AsyncIterator[Service]:
    async with running(database_of_module, RESEND_WEBHOOK_SECRET=RESEND_SECRET) as service:
        yield service


@pytest_asyncio.fixture(loop_scope="module")
async def tenant(service: Service) -> Tenant:
    return await service.tenant()
