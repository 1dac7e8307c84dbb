"""The widget and the results below a shop's own style sheet: nothing of it shifts them."""

import pytest
from playwright.sync_api import expect

# What these frameworks say of bare elements, as their sources have it.
BOOTSTRAP_4 = """
*, ::before, ::after { box-sizing: border-box }
body { margin: 0; line-height: 1.5 }
h1, h2 { margin-top: 0; margin-bottom: .5rem; font-weight: 500; line-height: 1.2 }
p, ul, ol, dl { margin-top: 0; margin-bottom: 1rem }
label { display: inline-block; margin-bottom: .5rem }
img, svg { vertical-align: middle }
button, input, select { margin: 0; font-family: inherit; font-size: inherit; line-height: inherit }
[type=search] { outline-offset: -2px; -webkit-appearance: none }
"""
TAILWIND = """
*, ::before, ::after { box-sizing: border-box; margin: 0; padding: 0; border: 0 solid }
h1, h2 { font-size: inherit; font-weight: inherit }
ol, ul, menu { list-style: none }
img, svg, video, canvas { display: block; vertical-align: middle }
img, video { max-width: 100%; height: auto }
button, input, select { font: inherit; color: inherit; background-color: transparent; border-radius: 0 }
"""
OLD = "label { font-weight: 700; margin-bottom: 5px } ul, ol { padding-left: 40px } li { margin-bottom: 4px }"
PARTS = [  # of the box, of the filters and of a card
    ".shopsearch__box",
    ".shopsearch__text",
    ".shopsearch__tool:not(.shopsearch__tool--camera)",
    ".shopsearch__submit",
    ".shopsearch-sort__choice",
    ".shopsearch-filters__box",
    ".shopsearch-card__picture",
]
MEASURES = """(parts) => parts.map((part) => {
    const [first] = [...document.querySelectorAll(part)];
    const { top, height } = first.getBoundingClientRect();
    const box = first.closest("form, li").getBoundingClientRect();
    return [part, Math.round(top - box.top), Math.round(height)];
})"""


def measures(page):
    return page.evaluate(MEASURES, PARTS)


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("styles", [BOOTSTRAP_4, TAILWIND, OLD], ids=["bootstrap 4", "tailwind", "old"])
def test_a_framework_s_rules_for_bare_elements_shift_and_change_no_part(shopper, live_server, styles, width):
    shopper.set_viewport_size({"width": width, "height": 844})
    shopper.goto(f"{live_server.url}/search/?q=red")
    expect(shopper.locator(".shopsearch-card")).to_have_count(8)
    before = measures(shopper)
    shopper.evaluate(
        """(styles) => {
            const sheet = new CSSStyleSheet();
            sheet.replaceSync(styles);
            document.adoptedStyleSheets = [sheet];  // after the widget's own: the worst case
        }""",
        styles,
    )
    after = measures(shopper)
    wrong = [
        (was, now)
        for was, now in zip(before, after, strict=True)
        if abs(was[1] - now[1]) > 1 or abs(was[2] - now[2]) > 1
    ]
    assert wrong == []
