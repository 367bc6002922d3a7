// Brings the page up to date: when the node says that something changed, the page is asked for
// again and every part marked `data-live` whose content differs is replaced.
"use strict";
(() => {
  const CLOCK_MS = 30000;
  const root = document.documentElement;
  let source = null;
  let shown = document.body.dataset.version;
  let running = false;
  let again = false;

  const setState = (state) => { root.dataset.link = state; };

  // What the reader has open, has focused or has scrolled must survive a replacement.
  function replace(part, fresh) {
    const open = [...part.querySelectorAll("details[open]")].map((element) => element.id);
    const scrolls = [...part.querySelectorAll(".scroll")].map((element) => [element.scrollLeft, element.scrollTop]);
    const focused = part.contains(document.activeElement) ? document.activeElement : null;
    const href = focused && focused.getAttribute("href");
    const place = href && [...part.querySelectorAll("a")].filter((a) => a.getAttribute("href") === href).indexOf(focused);
    const details = focused && focused.closest("details");
    part.replaceChildren(...fresh.childNodes);
    for (const id of open) {
      const element = id && document.getElementById(id);
      if (element) element.open = true;
    }
    part.querySelectorAll(".scroll").forEach((element, index) => { [element.scrollLeft, element.scrollTop] = scrolls[index] || [0, 0]; });
    if (href) {
      const link = [...part.querySelectorAll("a")].filter((a) => a.getAttribute("href") === href)[place];
      if (link) link.focus({ preventScroll: true });
    } else if (details && details.id) {
      const summary = document.getElementById(details.id)?.querySelector("summary");
      if (summary) summary.focus({ preventScroll: true });
    }
  }

  const isSelected = (part) => {
    const selection = document.getSelection();
    return selection && !selection.isCollapsed && part.contains(selection.anchorNode);
  };

  // Words being typed must not be replaced.
  const isTyping = (part) => document.activeElement?.matches("input") && part.contains(document.activeElement);

  async function refresh() {
    if (running) { again = true; return; }
    running = true;
    try {
      const response = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (!response.ok) return;
      const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
      for (const part of document.querySelectorAll("[data-live]")) {
        const other = fresh.getElementById(part.id);
        // A part that is replaced with <details> closed differs only by their state.
        const same = other && other.innerHTML === part.innerHTML.replaceAll(' open=""', "");
        if (other && !same && !isSelected(part) && !isTyping(part)) replace(part, other);
      }
      shown = fresh.body.dataset.version;
    } catch {
      setState("lost");
    } finally {
      running = false;
      if (again) { again = false; refresh(); }
    }
  }

  function listen() {
    if (source || document.hidden) return;
    source = new EventSource("/live");
    source.addEventListener("changed", (event) => {
      setState("on");
      if (event.data !== shown) refresh();
    });
    source.addEventListener("error", () => {
      setState("lost");
      // The browser tries again by itself unless it was refused.
      if (source && source.readyState === EventSource.CLOSED) { source.close(); source = null; }
    });
  }

  // Hidden pages hold no connection: browsers allow only a few to one host.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      if (source) { source.close(); source = null; }
    } else {
      refresh();
      listen();
    }
  });
  // Relative times grow old without any event.
  setInterval(() => { if (!document.hidden) { refresh(); listen(); } }, CLOCK_MS);
  listen();
})();
