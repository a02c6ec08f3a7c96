// What is clicked twice is sent once: over a slow line a second click would make a second key, note or report.

const PATIENCE_MS = 20_000;

function release(form) {
  delete form.dataset.sent;
  form.removeAttribute("aria-busy");
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.method !== "post") return;
  if (form.dataset.sent) return event.preventDefault();
  form.dataset.sent = "1";
  form.setAttribute("aria-busy", "true");
  // Whoever stopped the page from loading may send again.
  setTimeout(release, PATIENCE_MS, form);
});

// A page that the back button brings is as it was left.
window.addEventListener("pageshow", () => document.querySelectorAll("form[data-sent]").forEach(release));
