"""A browser, and a service with a mailbox of its own for each test."""

import os
import shutil
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, BrowserContext, async_playwright

from tests.serving import Serving, running_service

DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 375, "height": 740}


@pytest.fixture
async def serving(conninfo: str) -> AsyncIterator[Serving]:
    async with running_service(conninfo) as serving:
        yield serving


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    """The Chromium that CHROMIUM names, else the one on PATH."""
    program = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not program:
        pytest.fail("these tests need Chromium: run them by `make test-browser`", pytrace=False)
    async with async_playwright() as playwright:
        # Chromium's own sandbox cannot be had by root, nor in most containers.
        browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest.fixture
async def desktop(chromium: Browser, serving: Serving) -> AsyncIterator[BrowserContext]:
    context = await chromium.new_context(base_url=serving.address, viewport=DESKTOP)
    async with context:
        yield context


@pytest.fixture
async def phone(chromium: Browser, serving: Serving) -> AsyncIterator[BrowserContext]:
    context = await chromium.new_context(base_url=serving.address, viewport=PHONE, has_touch=True)
    async with context:
        yield context
