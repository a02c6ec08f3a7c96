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
