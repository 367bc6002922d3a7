"""Looks at a node's pages in Chromium. Called by browser.rs; needs the package playwright.

    python browser.py visit CHROMIUM URL AXE SCREENSHOTS PATH...

visits every page, in both themes, on a desk and on a phone. It fails on console errors, requests to other
hosts, serious findings of axe-core, sideways scrolling, and keyboards that do not get through. AXE is the
path of axe.min.js, SCREENSHOTS a folder; either may be empty.

    python browser.py watch CHROMIUM URL [PATH SELECTOR WORDS]...

opens pages, says `ready`, and fails unless each comes to show its words in what the selector names, without
being loaded again, and keeps what its reader had in hand.
"""

import pathlib
import sys
import urllib.parse

from playwright.sync_api import TimeoutError as Late
from playwright.sync_api import sync_playwright

SIZES = {"desk": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}
SERIOUS = {"serious", "critical"}
# What Tab reaches in the head of every page, in order.
HEAD = ["Skip to the content", "Assay", "Challenge", "Board", "Lineage", "Knowledge", "Ledger", "Peers", "Node"]


def file_name(path):
    name = path.strip("/").replace("?", "/").replace("&", "/").split("/")
    return "-".join(part[:12] for part in name) or "challenge"


def axe_findings(page, source):
    # The content policy of the pages lets no strange script in; this one is put in by the debugger.
    page.evaluate(source)
    result = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
    found = []
    for rule in result["violations"]:
        if rule["impact"] in SERIOUS:
            where = "; ".join(str(node["target"]) for node in rule["nodes"][:3])
            found.append(f"axe: {rule['id']} ({rule['impact']}): {rule['help']} at {where}")
    return found


def keyboard_findings(page):
    reached = []
    for _ in HEAD:
        page.keyboard.press("Tab")
        reached.append(page.evaluate("() => document.activeElement.textContent.trim()"))
    if reached != HEAD:
        return [f"Tab reaches {reached}, not {HEAD}"]
    hidden = page.evaluate(
        """() => [...document.querySelectorAll('a[href], button, input:not([type=hidden]), summary, [tabindex="0"]')]
        .filter((element) => element.tabIndex < 0).length"""
    )
    return [f"{hidden} controls cannot be reached by Tab"] if hidden else []


def visit(page, url, axe):
    findings, base = [], urllib.parse.urlsplit(url)
    outside = []
    page.on("request", lambda request: outside.append(request.url))
    page.on("console", lambda said: findings.append(f"console: {said.text}") if said.type == "error" else None)
    page.on("pageerror", lambda error: findings.append(f"script: {error}"))
    answer = page.goto(url, wait_until="load")
    if answer.status != 200:
        findings.append(f"status {answer.status}")
    page.wait_for_selector("html[data-link=on]", timeout=10_000)
    for asked in outside:
        if urllib.parse.urlsplit(asked).netloc != base.netloc:
            findings.append(f"asks another host: {asked}")
    wide = page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth")
    if wide > 0:
        findings.append(f"{wide} px wider than the window")
    if axe:
        findings += axe_findings(page, axe)
    return findings + keyboard_findings(page)


def watch_all(chromium, url, wanted):
    """Opens all pages, then waits until what the node learns appears on them."""
    findings = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        opened = []
        for path, selector, words in wanted:
            # A page that is not in front counts as hidden, and hidden pages are not kept up to date; so each
            # has a window of its own.
            page = browser.new_context().new_page()
            page.goto(url + path, wait_until="load")
            page.wait_for_selector("html[data-link=on]", timeout=10_000)
            if words in page.text_content(selector):
                findings.append(f"{path}: shows {words!r} before it is there")
            page.evaluate("() => { window.wasHereBefore = true; }")
            # A reader in the middle of something: a link in focus inside of what is replaced.
            link = page.locator(f"{selector} a").first
            focused = link.get_attribute("href") if link.count() else None
            if focused:
                link.focus()
            opened.append((page, path, selector, words, focused))
        print("ready", flush=True)
        for page, path, selector, words, focused in opened:
            try:
                page.locator(selector, has_text=words).wait_for(timeout=20_000)
            except Late:
                findings.append(f"{path}: {words!r} does not appear in {selector}")
                continue
            if not page.evaluate("() => window.wasHereBefore === true"):
                findings.append(f"{path}: was loaded again")
            now = page.evaluate("() => document.activeElement.getAttribute('href')")
            if now != focused:
                findings.append(f"{path}: the focus went from {focused} to {now}")
        browser.close()
    return findings


def watch(arguments):
    chromium, url, *wanted = arguments
    findings = watch_all(chromium, url, list(zip(wanted[::3], wanted[1::3], wanted[2::3], strict=True)))
    print("\n".join([*findings, f"{len(wanted) // 3} pages, {len(findings)} findings"]))
    return 1 if findings else 0


def visit_all(arguments):
    chromium, url, axe_path, shots, *paths = arguments
    axe = pathlib.Path(axe_path).read_text() if axe_path else ""
    count = 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for theme in ("light", "dark"):
            for size, viewport in SIZES.items():
                context = browser.new_context(color_scheme=theme, viewport=viewport)
                for path in paths:
                    page = context.new_page()
                    for finding in visit(page, url + path, axe):
                        count += 1
                        print(f"{path} ({theme}, {size}): {finding}", flush=True)
                    if shots:
                        target = pathlib.Path(shots) / f"{file_name(path)}-{theme}-{size}.png"
                        page.evaluate("() => { document.activeElement.blur(); scrollTo(0, 0); }")
                        page.screenshot(path=target, full_page=True)
                    page.close()
                context.close()
        browser.close()
    print(f"{len(paths)} pages, {count} findings")
    return 1 if count else 0


def main():
    what, *arguments = sys.argv[1:]
    return {"visit": visit_all, "watch": watch}[what](arguments)


sys.exit(main())
