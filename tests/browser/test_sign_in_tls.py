"""A token by HTTPS in a real browser: asked for once, remembered over a restart, and never to be guessed quickly."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, Page, expect

from stream.clients import ClientLimits
from stream.listening import tls_context
from stream.server import ServerOptions, create_app
from stream.server_config import TlsConfig
from stream.tokens import hashed
from tests.browser.pages import wait_for_state
from tests.stream.viewer_frames import make_service, publishing, serving
from tests.support.certificates import Authority

pytestmark = pytest.mark.browser

TOKEN = "0123456789abcdef-view"
KEY = bytes(range(32))


@pytest.fixture
def tls(tmp_path: Path) -> TlsConfig:
    files = TlsConfig(certificate=str(tmp_path / "chain.pem"), key=str(tmp_path / "key.pem"))
    Authority(tmp_path).issue(Path(files.certificate), Path(files.key))
    return files


async def sign_in(page: Page, token: str) -> None:
    dialog = page.get_by_role("dialog", name="This server asks for a token")
    await dialog.get_by_label("Token").fill(token)
    await dialog.get_by_role("button", name="Watch").click()


async def cookies_of(context: BrowserContext) -> list[tuple[object, ...]]:
    return [(each["httpOnly"], each["secure"], each["sameSite"]) for each in await context.cookies()]


async def test_a_token_is_shown_once_and_remembered_over_a_restart(browser: Browser, tls: TlsConfig) -> None:
    options = ServerOptions(tokens=(hashed(TOKEN),), cookie_key=KEY)
    context = await browser.new_context(ignore_https_errors=True)
    page = await context.new_page()
    service, port = make_service(), 0
    for restarted in (False, True):
        app = create_app(service, options)
        async with publishing(service), serving(app, port=port, tls=tls_context(tls)) as (_, address):
            assert address.startswith("https://")
            port = int(address.rsplit(":", 1)[1])
            await page.goto(address)
            if not restarted:
                await sign_in(page, "wrong")
                await expect(page.get_by_text("The server does not know this token.")).to_be_visible()
                await sign_in(page, TOKEN)
            await wait_for_state(page, "live")
            assert await page.evaluate("document.cookie") == "", "no script can read it"
            assert await cookies_of(context) == [(True, True, "Strict")]


async def test_who_guesses_has_to_wait(browser: Browser, tls: TlsConfig) -> None:
    limits = ClientLimits(requests_per_s=0.1, burst=100)
    options = ServerOptions(tokens=(hashed(TOKEN),), clients=limits)
    page = await (
        await browser.new_context(
            ignore_https_errors=True, extra_http_headers={"X-Forwarded-For": "203.0.113.5"}
        )
    ).new_page()
    async with serving(create_app(make_service(), options), tls=tls_context(tls)) as (_, address):
        await page.goto(address)
        await sign_in(page, "wrong")
        await expect(page.get_by_text("The server does not know this token.")).to_be_visible()
        await page.evaluate(
            "Promise.all(Array.from({ length: 100 }, () => fetch('/session', { method: 'POST' })))"
        )
        await sign_in(page, TOKEN)
        await expect(page.get_by_text("Too many requests. Try again in a while.")).to_be_visible()
