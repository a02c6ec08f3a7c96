// "Try it on history": asks for a backtest of what the builder holds, or of a version, and shows its result here.
import { noNumber, readNumber } from "../rules/builder_model.js";

const panel = document.querySelector("[data-try]");
const byId = (id) => document.getElementById(id);
const documents = JSON.parse(byId("try-documents").textContent);
const words = JSON.parse(byId("try-words").textContent);
const result = byId("try-result");
// The page of a rule is shown after saving it: what the builder kept is saved.
if (panel.dataset.rule) {
  sessionStorage.removeItem(sessionStorage.getItem("fs-rule-sent") ?? "");
  sessionStorage.removeItem("fs-rule-sent");
}
const ENDED = "Your session has ended; log in again.";
const token = document.querySelector("[name=csrfmiddlewaretoken]")?.value ?? "";

function wording() {
  const source = byId("rule-document");
  if (source) { try { return JSON.parse(source.value); } catch { return null; } }
  return documents[byId("try-version").value];
}

// Every number a condition compares with, by its JSON path.
function numbersOf(conditions, at = "conditions") {
  return (conditions ?? []).flatMap((each, index) => numbersOfOne(each, `${at}[${index}]`));
}

function numbersOfOne(condition, at) {
  if (condition.all) return numbersOf(condition.all, `${at}.all`);
  if (condition.any) return numbersOf(condition.any, `${at}.any`);
  if (condition.not) return numbersOfOne(condition.not, `${at}.not`);
  const own = [];
  const measure = words.aggregates[condition.aggregate_function] ?? "";
  const field = measure && condition.aggregate_function === "count" ? "" : words.fields[condition.field] ?? condition.field ?? "";
  const test = `${[measure, field].filter(Boolean).join(" ")} ${words.operators[condition.operator]}`;
  if (typeof condition.value === "number") own.push({ path: `${at}.value`, label: `${test} ${shown(condition.value)}`, value: condition.value });
  if (typeof condition.value?.times === "number") own.push({ path: `${at}.value.times`, label: `${test} ${shown(condition.value.times)} × …`, value: condition.value.times });
  return [...own, ...numbersOf(condition.filters, `${at}.filters`)];
}

function shown(number) { return number.toLocaleString("en", { maximumFractionDigits: 10 }); }

function given(id) {
  const written = byId(id).value.trim();
  const number = readNumber(written);
  if (number === undefined) throw new Error(written ? noNumber(written) : "Say from which number to which.");
  return Number(number);
}

function offerNumbers() {
  const select = byId("try-path");
  const chosen = select.value;
  const found = numbersOf(wording()?.conditions);
  select.replaceChildren(new Option("none", ""), ...found.map((each) => new Option(each.label, each.path)));
  if (found.some((each) => each.path === chosen)) select.value = chosen;
  return found;
}

function asked() {
  const body = {};
  if (byId("rule-document")) body.rule = wording();
  else Object.assign(body, { rule_id: Number(panel.dataset.rule), version: Number(byId("try-version").value) });
  if (byId("try-from").value) body.date_from = byId("try-from").value;
  if (byId("try-to").value) body.date_to = byId("try-to").value;
  if (byId("try-path").value) body.sweep = { path: byId("try-path").value, from: given("try-low"), to: given("try-high"), steps: given("try-steps") };
  return body;
}

// The builder's text goes as it is: numbers may have more digits than this script could hold.
function askedText() {
  const body = asked();
  const source = byId("rule-document");
  if (!source || !body.rule) return JSON.stringify(body);
  delete body.rule;
  return JSON.stringify(body).replace(/^\{/, `{"rule": ${source.value}${Object.keys(body).length ? "," : ""}`);
}

async function start() {
  const problems = byId("try-problems");
  problems.textContent = "";
  // What an earlier try answered is not the answer to this one.
  result.replaceChildren();
  const response = await fetch(panel.dataset.try, { method: "POST", credentials: "same-origin", body: askedText(), headers: { "Content-Type": "application/json", "X-CSRFToken": token } });
  if (response.redirected || response.status === 403) throw new Error(ENDED);
  const answer = await response.json().catch(() => ({ problems: [{ path: "$", message: `it could not be started (${response.status})` }] }));
  if (!response.ok) {
    problems.textContent = answer.problems.map((each) => (each.path === "$" ? each.message : `${each.path}: ${each.message}`)).join("; ");
    return;
  }
  await follow(answer.url);
}

async function follow(url) {
  for (let wait = 400; ; wait = Math.min(wait * 1.4, 3000)) {
    const response = await fetch(url, { credentials: "same-origin" });
    if (response.redirected) throw new Error(ENDED);
    if (response.ok) result.innerHTML = await response.text();
    if (!response.ok || response.headers.get("X-Done") === "1") return;
    await new Promise((resolve) => { setTimeout(resolve, wait); });
  }
}

byId("try-start").addEventListener("click", async () => {
  const button = byId("try-start");
  // A second click while the first is under way would start a second one.
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  try { await start(); } catch (error) { byId("try-problems").textContent = String(error.message); }
  button.removeAttribute("aria-disabled");
});
byId("try-path").addEventListener("focus", offerNumbers);
byId("try-path").closest("details").addEventListener("toggle", offerNumbers);
byId("try-path").addEventListener("change", () => {
  const found = offerNumbers().find((each) => each.path === byId("try-path").value);
  if (!found) return;
  // The range around this number: what stood there was the range of another.
  const [low, high] = [found.value / 2, found.value * 2].sort((a, b) => a - b);
  byId("try-low").value = String(low);
  byId("try-high").value = String(high);
});
byId("try-version")?.addEventListener("change", offerNumbers);
document.addEventListener("DOMContentLoaded", offerNumbers);
offerNumbers();
