// Unfold opens its menus by spans and divs, which no keyboard reaches, and its icons are words that are read aloud.

const OPENERS = "[x-on\\:click]:is(span, div, a:not([href])):not(#changelist-filter-close)";

function isSaidOtherwise(icon) {
  const owner = icon.closest("a, button, [role=button], h1, h2");
  return owner !== null && owner !== icon && (owner.hasAttribute("aria-label") || owner.textContent.trim() !== icon.textContent.trim());
}

for (const opener of document.querySelectorAll(OPENERS)) {
  opener.setAttribute("role", "button");
  opener.tabIndex = 0;
}
for (const icon of document.querySelectorAll(".material-symbols-outlined")) {
  if (isSaidOtherwise(icon)) icon.setAttribute("aria-hidden", "true");
}

document.addEventListener("keydown", (event) => {
  if ((event.key !== "Enter" && event.key !== " ") || !event.target.matches(OPENERS)) return;
  event.preventDefault();
  event.target.click();
});

// A table or picture that is wider than its place is moved by the arrow keys once it can be reached; with links in it, it can.
function reachWide() {
  for (const place of document.querySelectorAll(".fs-scroll, .fs-stems")) {
    const isReached = place.scrollWidth <= place.clientWidth || place.querySelector("a[href], button, input, select, summary") !== null;
    if (isReached) { ["tabindex", "role", "aria-label"].forEach((name) => place.removeAttribute(name)); continue; }
    place.tabIndex = 0;
    place.setAttribute("role", "group");
    place.setAttribute("aria-label", "Wider than the page");
  }
}

reachWide();
window.addEventListener("resize", reachWide);
new MutationObserver(reachWide).observe(document.body, { childList: true, subtree: true });
