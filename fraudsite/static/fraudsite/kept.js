// What was typed into a form survives a session that ended meanwhile, and a change that was refused because
// somebody else was first or something is not valid: it is there again. Kept in this tab alone, until the page after
// it says whether it was needed.

const key = `fs-typed:${location.pathname}`;
const forms = () => [...document.querySelectorAll(".fs form[method=post]:not(#rule-form)")];
const fields = (form) => [...form.querySelectorAll("textarea[name], select[name], input[name]:not([type=hidden]):not([type=password]):not([type=file])")];
const place = (form, field) => `${form.getAttribute("action") ?? ""}#${field.name}#${field.type === "radio" || field.type === "checkbox" ? field.value : ""}`;
const isChoice = (field) => field.type === "radio" || field.type === "checkbox";

function keep(event) {
  const form = event.target;
  const typed = fields(form).map((field) => [place(form, field), isChoice(field) ? field.checked : field.value]);
  const hadFile = [...form.querySelectorAll("input[type=file]")].some((each) => each.files.length);
  sessionStorage.setItem(key, JSON.stringify({ typed, hadFile }));
}

function bring({ typed, hadFile }, why) {
  const values = new Map(typed);
  for (const form of forms()) {
    for (const field of fields(form).filter((each) => values.has(place(form, each)))) {
      if (isChoice(field)) field.checked = values.get(place(form, field));
      else field.value = values.get(place(form, field));
      if (isChoice(field) ? field.checked : field.value) field.closest("details")?.setAttribute("open", "");
      values.delete(place(form, field));
    }
  }
  const note = document.createElement("div");
  note.className = "fs-callout warn";
  note.style.marginBottom = "1rem";
  note.setAttribute("role", "status");
  note.append(paragraph(`${why} What you had typed is here again.${hadFile ? " Choose the file once more: browsers do not keep it." : ""}`));
  // A form may be gone, as that of a case which somebody else has closed; its words are still here to copy.
  for (const text of values.values()) {
    if (typeof text === "string" && text.trim()) note.append(Object.assign(paragraph(text), { style: "white-space:pre-wrap;overflow-wrap:anywhere" }));
  }
  document.querySelector(".fs").prepend(note);
}

function paragraph(text) {
  const element = document.createElement("p");
  element.textContent = text;
  return element;
}

// A login in another tab gives out another token against forgery; forms that were open already take it on.
function renewTokens() {
  const name = document.querySelector("meta[name=csrf-cookie]")?.content;
  const cookie = document.cookie.split("; ").find((each) => each.startsWith(`${name}=`));
  if (cookie) document.querySelectorAll(".fs [name=csrfmiddlewaretoken]").forEach((each) => { each.value = cookie.slice(name.length + 1); });
}

// Unfold's script would write a chosen file's name into a box that only its own widget has.
document.querySelectorAll(".fs input[type=file]").forEach((each) => { each.hasChangeListener = true; });

const found = sessionStorage.getItem(key);
sessionStorage.removeItem(key);
if (found && document.referrer && new URL(document.referrer).pathname.endsWith("/login/")) bring(JSON.parse(found), "Your session had ended, so nothing was saved.");
else if (found && document.querySelector(".fs-refused")) bring(JSON.parse(found), "Nothing was saved.");
forms().forEach((form) => form.addEventListener("submit", keep));
document.addEventListener("submit", renewTokens, true);
document.addEventListener("visibilitychange", renewTokens);
window.addEventListener("focus", renewTokens);
