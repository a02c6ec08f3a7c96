// Swaps in newer figures every few seconds. What has the focus keeps it; while the tab is hidden nothing is asked.
const live = document.getElementById("live");
const state = document.getElementById("live-state");
const everyMs = Number(live.dataset.everyS) * 1000;
let failures = 0;

async function refresh() {
  if (document.hidden) return;
  try {
    const response = await fetch(live.dataset.liveUrl, { credentials: "same-origin", headers: { "X-Requested-With": "live" } });
    if (response.redirected || !response.ok) throw new Error(response.redirected ? "the session has ended; log in again" : `status ${response.status}`);
    const html = await response.text();
    const focused = document.activeElement?.closest("#live [href]")?.getAttribute("href");
    live.innerHTML = html;
    if (focused) live.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus();
    if (failures) state.textContent = "";
    failures = 0;
  } catch (error) {
    failures += 1;
    state.textContent = `These figures are not up to date: ${error.message}. Trying again.`;
  }
}

setInterval(refresh, everyMs);
document.addEventListener("visibilitychange", refresh);
