// What was typed into a form survives a session that ended meanwhile: after the login it is there again.
// Kept in this tab alone, until the page after it says whether it was needed.

const key = `fs-typed:${location.pathname}`;
const forms = () => [...document.querySelectorAll(".fs form[method=post]:not(#rule-form)")];
const fields = (form) => [...form.querySelectorAll("textarea[name], input[name]:not([type=hidden]):not([type=password]):not([type=file])")];
const place = (form, field) => `${form.getAttribute("action") ?? ""}#${field.name}#${field.type === "radio" || field.type === "checkbox" ? field.value : ""}`;
const isChoice = (field) => field.type === "radio" || field.type === "checkbox";

function keep(event) {
  const form = event.target;
  sessionStorage.setItem(key, JSON.stringify(fields(form).map((field) => [place(form, field), isChoice(field) ? field.checked : field.value])));
}

function bring(kept) {
  const values = new Map(kept);
  for (const form of forms()) {
    for (const field of fields(form).filter((each) => values.has(place(form, each)))) {
      if (isChoice(field)) field.checked = values.get(place(form, field));
      else field.value = values.get(place(form, field));
    }
  }
  const note = document.createElement("p");
  note.className = "fs-callout warn";
  note.setAttribute("role", "status");
  note.textContent = "Your session had ended, so nothing was saved. What you had typed is here again.";
  document.querySelector(".fs").prepend(note);
}

// A login in another tab gives out another token against forgery; forms that were open already take it on.
function renewTokens() {
  const name = document.querySelector("meta[name=csrf-cookie]")?.content;
  const cookie = document.cookie.split("; ").find((each) => each.startsWith(`${name}=`));
  if (cookie) document.querySelectorAll(".fs [name=csrfmiddlewaretoken]").forEach((each) => { each.value = cookie.slice(name.length + 1); });
}

const found = sessionStorage.getItem(key);
sessionStorage.removeItem(key);
if (found && document.referrer && new URL(document.referrer).pathname.endsWith("/login/")) bring(JSON.parse(found));
forms().forEach((form) => form.addEventListener("submit", keep));
document.addEventListener("submit", renewTokens, true);
document.addEventListener("visibilitychange", renewTokens);
window.addEventListener("focus", renewTokens);
