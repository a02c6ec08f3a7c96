// Keeps one part of a page up to date until what it shows is over.
const part = document.querySelector("[data-follow]");

async function follow() {
  for (let wait = 800; part; wait = Math.min(wait * 1.3, 4000)) {
    await new Promise((resolve) => { setTimeout(resolve, wait); });
    if (document.hidden) continue;
    const response = await fetch(part.dataset.follow, { credentials: "same-origin", headers: { "X-Requested-With": "live" } });
    if (!response.ok || response.redirected) return stopped(response.redirected ? "your session has ended; log in again" : `the server answered ${response.status}; load the page again`);
    part.innerHTML = await response.text();
    if (response.headers.get("X-Done") === "1") return renewActions();
  }
}

// What may be done with it is another thing once it is over: nothing to cancel, errors to download.
async function renewActions() {
  const actions = document.querySelector("[data-follow-actions]");
  if (!actions) return;
  const response = await fetch(location.href, { credentials: "same-origin" });
  const renewed = response.ok && new DOMParser().parseFromString(await response.text(), "text/html").querySelector("[data-follow-actions]");
  if (renewed) actions.replaceWith(document.adoptNode(renewed));
}

function stopped(why) {
  const note = document.createElement("p");
  note.className = "fs-callout warn";
  note.setAttribute("role", "status");
  note.textContent = `This is no longer kept up to date: ${why}.`;
  part.prepend(note);
}

follow();
