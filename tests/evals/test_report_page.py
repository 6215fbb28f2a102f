from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from baco_local.evals.figures import draw_coverage, draw_plane
from baco_local.evals.findings import Findings, find
from baco_local.evals.report import page
from baco_local.evals.scoring import read_answers, score
from baco_local.metrics.annotators import classified
from baco_local.metrics.semantic import unigram_same

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@pytest.fixture
def findings(run: Path) -> Findings:
    """Return what a small run found."""
    return find(score(read_answers(run), meaning=[classified(unigram_same)]), n_resamples=100)


@pytest.fixture
def browser() -> Iterator[Any]:
    """Return a headless Chromium, or skip."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright (extra dev) to drive a browser")
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_api.sync_playwright() as playwright:
        if program is None and not Path(playwright.chromium.executable_path).exists():
            pytest.skip(f"needs a Chromium: one of {', '.join(BROWSERS)} in PATH, or `playwright install chromium`")
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield chromium
        chromium.close()


def test_the_page_stands_alone(findings: Findings) -> None:
    """The page loads nothing: no address but namespaces, and a policy that forbids every connection."""
    text = page(findings)
    assert "default-src 'none'" in text
    assert set(re.findall(r"https?://[^\s\"'<)]+", text)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<(?:link|img|iframe)\b|\bsrc=|@import|url\((?!#)", text)


def test_the_page_carries_foreign_texts_unharmed(findings: Findings) -> None:
    """What a model wrote cannot end the script that it stands in, and is read back as it was."""
    for lines in findings.answers.lines.values():
        for line in lines.values():
            object.__setattr__(line.answers[0], "voices", (("base", "</script><b>&\u2028"),))
    text = page(findings)
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    texts = json.loads(data)["texts"]["p-punc.1"]
    assert texts[0][1][0][1] == "b</script><b>&\u2028"


def test_points_carry_no_more_texts_than_asked(findings: Findings) -> None:
    """The number of texts behind a mark is bounded, so that a large run makes no large page."""
    (data,) = re.findall(r'id="data">(.*?)</script>', page(findings, n_texts=2), re.DOTALL)
    shown = json.loads(data)["texts"]
    assert len(shown) == 10
    assert {sum(len(answers) for _, answers in own) for own in shown.values()} == {2}


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_clicked_through(findings: Findings, browser: Any, tmp_path: Path, scheme: str) -> None:
    """A browser draws every point; hovering, clicking, choosing axes, hiding and sorting do their work."""
    path = tmp_path / "report.html"
    path.write_text(page(findings), encoding="utf-8")
    tab = browser.new_page(color_scheme=scheme, viewport={"width": 1200, "height": 900})
    errors: list[str] = []
    asked: list[str] = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(path.as_uri())
    assert tab.locator("#chart .point").count() == 10

    mark = tab.locator("[data-key='aligned.1']")
    mark.dispatch_event("pointerenter")
    assert "aligned · temperature 0.3" in tab.locator("#tip").inner_text()
    mark.dispatch_event("pointerleave")
    assert tab.locator("#tip").is_hidden()

    line = next(iter(findings.answers.at("p-punc", 2)))
    tab.locator("[data-key='p-punc.2']").focus()
    tab.keyboard.press("Enter")
    assert line.prompt in tab.locator("#texts").inner_text()
    shown = tab.locator("#texts .answer").first
    assert shown.evaluate(
        "box => [...box.childNodes].filter(n => n.nodeName !== 'SMALL').map(n => n.textContent).join('')"
    ) == (line.answers[0].text)
    by_base = "".join(text.lstrip() for role, text in line.answers[0].voices if role == "base")
    assert "".join(shown.locator(".base").all_text_contents()) == by_base

    before = mark.locator(".mark").get_attribute("cx"), mark.locator(".mark").get_attribute("d")
    tab.select_option("#x", "distinct_2")
    tab.select_option("#y", "constraints")
    after = mark.locator(".mark").get_attribute("cx"), mark.locator(".mark").get_attribute("d")
    assert before != after
    tab.select_option("#view", "raw")
    assert tab.locator("#chart .point").count() == 10

    tab.locator("#legend input[value='base']").uncheck()
    assert tab.locator("#chart .point").count() == 8

    head = tab.locator("#standings th button").nth(0)
    head.click()
    names = tab.locator("#standings tbody td:first-child").all_text_contents()
    assert names == sorted(names, reverse=True)
    head.click()
    assert tab.locator("#standings tbody td:first-child").all_text_contents() == sorted(names)
    assert errors == []
    assert asked == [path.as_uri()]


@pytest.mark.slow
def test_pictures_are_drawn(findings: Findings, tmp_path: Path) -> None:
    """Both pictures come as PNG and SVG, and the words in an SVG are words."""
    pytest.importorskip("matplotlib", reason="needs matplotlib (extra analysis)")
    for name, draw in (("plane", draw_plane), ("coverage", draw_coverage)):
        draw(findings, [tmp_path / f"{name}.png", tmp_path / f"{name}.svg"])
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "p-punc" in (tmp_path / f"{name}.svg").read_text()
