"""What is asked of every card: that everybody can read it."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Locator

# Words, the colour they have, and the colours that lie behind them, the nearest first. Prompts and the heads of
# accordions have Jupyter's own colours (4.4 to 1 in its light theme), and are left out.
_COLOURS = """root => {
    const others = 'style, script, progress, .jp-OutputPrompt, .jupyter-widget-Collapse-header';
    const found = [], walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const text = walker.currentNode.textContent.trim(), element = walker.currentNode.parentElement;
        if (!text || !element.checkVisibility() || element.closest(others)) continue;
        const behind = [];
        for (let at = element; at; at = at.parentElement) behind.push(getComputedStyle(at).backgroundColor);
        found.push([text.slice(0, 60), getComputedStyle(element).color, behind]);
    }
    return found;
}"""


def poor_contrasts(area: Locator, least: float = 4.5) -> list[tuple[str, float]]:
    """The texts of an area that differ too little from what lies behind them, and by how much."""
    found = [(text, _contrast(colour, behind)) for text, colour, behind in _texts(area)]
    return [(text, contrast) for text, contrast in found if contrast < least]


def _texts(area: Locator) -> list[tuple[str, str, list[str]]]:
    """The texts of an area, which is empty for a moment when a live card makes place for the lasting one."""
    for _ in range(20):
        found: list[tuple[str, str, list[str]]] = area.evaluate(_COLOURS)
        if found:
            return found
        area.page.wait_for_timeout(100)
    raise AssertionError("there is no text")


def faults(area: Locator) -> list[str]:
    """What stands in the way of somebody who does not see an area: things without a name, tables without heads."""
    found = [f"an image without alt: {_html(image)}" for image in area.locator("img:not([alt]), img[alt='']").all()]
    for table in area.locator("table").all():
        heads = table.locator("th")
        without = table.locator("th:not([scope])")
        found += ["a table without heads"] if not heads.count() else []
        found += [f"a head without scope: {_html(head)}" for head in without.all()]
    for button in area.get_by_role("button").all():
        name = button.inner_text().strip() or button.get_attribute("aria-label") or button.get_attribute("title")
        found += [] if name else [f"a button without a name: {_html(button)}"]
    for bar in area.locator("progress, [role=progressbar]").all():
        named = any(bar.get_attribute(name) for name in ("title", "aria-label", "aria-labelledby"))
        found += [] if named else [f"a progress bar without a name: {_html(bar)}"]
    return found


def _html(element: Locator) -> str:
    return str(element.evaluate("element => element.outerHTML"))[:150]


def _contrast(colour: str, behind: list[str]) -> float:
    """The ratio of two luminances, as WCAG has it."""
    ground = (255.0, 255.0, 255.0)
    for layer in reversed(behind):
        ground = _over(_parsed(layer), ground)
    one, other = sorted((_luminance(_over(_parsed(colour), ground)), _luminance(ground)))
    return (other + 0.05) / (one + 0.05)


def _parsed(colour: str) -> tuple[float, ...]:
    """``rgb(…)`` or ``rgba(…)``, or ``color(srgb …)`` with parts from 0 to 1."""
    inner = colour[colour.index("(") + 1 : colour.rindex(")")].replace(",", " ").replace("/", " ").split()
    numbers = [float(part) for part in inner if part != "srgb"]
    scale = 255.0 if "srgb" in inner else 1.0
    return (*(part * scale for part in numbers[:3]), numbers[3] if len(numbers) > 3 else 1.0)


def _over(above: tuple[float, ...], below: tuple[float, ...]) -> tuple[float, float, float]:
    share = above[3]
    mixed: Any = tuple(share * a + (1 - share) * b for a, b in zip(above[:3], below[:3], strict=True))
    return mixed


def _luminance(colour: tuple[float, ...]) -> float:
    parts = [part / 255 for part in colour]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
