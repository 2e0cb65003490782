"""The page of an explanation in a real browser: headless Chromium, which `.ci/run` installs by apt."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from rtt_lightning.reports.explanation import write_explanation
from tests.reports.explanations import HOSTILE, examples

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt could not)")
WIDE, PHONE = (1280, 900), (390, 844)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for all tests here. It ends with them: Playwright's event loop would be in the way of others'."""
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


@pytest.fixture(params=[WIDE, PHONE], ids=["wide", "phone"])
def page(request: pytest.FixtureRequest, browser: Browser, judge, tmp_path: Path) -> Iterator[Page]:
    """The page of the examples. What it asks of the network, its errors and its dialogs fail the test."""
    file = tmp_path / "page.html"
    write_explanation(file, examples(judge), f"file {HOSTILE}", 30)
    width, height = request.param
    phone = request.param == PHONE
    context = browser.new_context(viewport={"width": width, "height": height}, has_touch=phone, is_mobile=phone)
    opened, trouble = context.new_page(), list[str]()
    opened.set_default_timeout(5000)
    opened.on("request", lambda asked: trouble.append(asked.url))
    opened.on("console", lambda message: trouble.append(message.text))
    opened.on("pageerror", lambda error: trouble.append(str(error)))
    opened.on("dialog", lambda dialog: trouble.append(dialog.message))
    opened.goto(file.as_uri())
    yield opened
    assert trouble == [file.as_uri()]
    assert opened.evaluate("typeof window.hacked") == "undefined"
    assert opened.locator("img, iframe, script").count() == 2  # its data and its script
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.close()


def choose(page: Page, group: str, text: str) -> None:
    page.locator(f"#{group} label", has_text=text).click()


def lit(page: Page) -> list[str]:
    """The tokens that are said to decide the criterion."""
    return page.locator("#tokens .decides").all_inner_texts()


def colours(page: Page) -> list[str]:
    every = "[...document.querySelectorAll('#tokens span')].map(span => getComputedStyle(span).backgroundColor)"
    return page.evaluate(every)


def test_the_tokens_of_the_chosen_criterion_light_up(page: Page) -> None:
    assert lit(page) == ["Tea"]
    assert page.locator("#decides").inner_text().startswith("2 of 5 tokens decide it")
    assert "0.63" in colours(page)[0]  # 0.9 of the strongest, 0.7
    assert colours(page)[3].endswith("/ 0)") or colours(page)[3].endswith(", 0)")
    choose(page, "criteria", "criterion 1")
    assert lit(page)[:2] == [" is", "🍵"]
    choose(page, "criteria", "criterion 2")
    assert lit(page) == []
    assert page.locator("#decides").inner_text() == "Undecided: no token earns credit by it."
    assert "undecided: reason </script>" in page.locator("#criteria label").nth(2).inner_text()


def test_a_layer_changes_colours_and_scale(page: Page) -> None:
    choose(page, "criteria", "criterion 1")
    relevance = colours(page)
    choose(page, "layers", "Token reward")
    assert colours(page)[1] != relevance[1]
    assert page.locator("#low").inner_text() == "−1"
    assert {*page.locator("#tokens span").nth(1).get_attribute("class").split()} == {"n", "decides"}
    choose(page, "layers", "Advantage")
    assert page.locator("#high").inner_text().startswith("≥ +")
    assert "all criteria together" in page.locator("#layer").inner_text()
    assert ["n" in (span.get_attribute("class") or "").split() for span in page.locator("#tokens span").all()] == [
        False, True, False, False, True,
    ]  # fmt: skip
    assert lit(page)[0] == " is"  # the criterion stays


def test_a_token_under_the_pointer_or_finger_shows_its_numbers(page: Page) -> None:
    choose(page, "criteria", "criterion 1")
    token = page.locator("#tokens span").nth(1)
    token.tap() if page.viewport_size == {"width": PHONE[0], "height": PHONE[1]} else token.hover()
    tip = page.locator("#tip")
    assert tip.inner_text().split("\n") == ["is", "relevance 0.800", "token reward −0.800", "advantage −0.250"]
    box, size = tip.bounding_box(), page.viewport_size
    assert box is not None
    assert size is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= size["width"]
    page.locator("#tokens span").nth(3).dispatch_event("pointerover")
    assert "advantage not finite" in tip.inner_text()
    page.locator("#tokens span").nth(4).dispatch_event("pointerover")
    assert "outside the answer" in tip.inner_text()


def test_the_keyboard_reaches_criteria_layers_and_tokens(page: Page) -> None:
    page.locator("#criteria input").first.focus()
    page.keyboard.press("ArrowDown")
    assert lit(page)[0] == " is"
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    assert page.locator("#low").inner_text() == "−1"
    page.keyboard.press("Tab")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert "mean of 2 tokens" in page.locator("#tip").inner_text()
    page.keyboard.press("End")
    assert page.locator("#tokens .at").inner_text() == "∎"
    page.keyboard.press("Home")
    assert page.locator("#tokens .at").inner_text() == "Tea"
    page.keyboard.press("Escape")
    assert not page.locator("#tip").is_visible()


def test_another_response_is_chosen(page: Page) -> None:
    assert "3 responses, 27 left out" in page.locator("#source").inner_text()
    choose(page, "layers", "Advantage")
    page.locator("#next").click()
    assert page.locator("#tokens").inner_text() == "الشاي لذيذ"
    assert page.evaluate("getComputedStyle(document.getElementById('tokens')).direction") == "rtl"
    first, second = (span.bounding_box() for span in page.locator("#tokens span").all())
    assert first is not None
    assert second is not None
    assert first["x"] > second["x"]
    page.locator("#tokens").focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowLeft")  # forward, from right to left
    assert page.locator("#tokens .at").inner_text().strip() == "لذيذ"
    page.locator("#response").select_option("2")
    assert page.locator("#tokens").inner_text() == "我喜欢茶"
    assert page.locator("input[value=advantage]").is_disabled()
    assert page.locator("input[value=relevance]").is_checked()
    assert lit(page) == ["茶"]
    assert page.locator("#next").is_disabled()
