// The rule builder: a rule written by choosing. The document lives in the form's textarea, as the API takes it;
// this script shows it as controls, keeps it up to date, and asks the server what it means and what is wrong.

import { aggregates, choices, choicesOf, events, fieldsOf, hintFor, kindOf, operators, operatorsFor, sourcesFor } from "./builder_choices.js";
import { button, check, h, idOf, input, labelled, select, word } from "./builder_controls.js";
import { documentText, emptyAggregate, emptyComparison, noNumber, parseDocument, readGroup, readNumber, splitDuration, writeConditions, writtenNumber } from "./builder_model.js";

const form = document.getElementById("rule-form");
const source = document.getElementById("rule-document");
const root = document.getElementById("rule-builder");
const MODES = [["all", "all of these hold"], ["any", "at least one of these holds"], ["none", "none of these holds"], ["notall", "not all of these hold"]]
  .map(([name, label]) => ({ name, label }));
const EXTENTS = [{ name: "window", label: "in the last" }, { name: "lifetime", label: "ever" }, { name: "last", label: "among the last … events" }];

let rule;            // the document without its conditions
let conditions;      // the tree that is edited
let refused = [];    // what this page itself cannot take: a text that is no number
let problems = JSON.parse(document.getElementById("rule-problems").textContent);
let showAll = problems.length > 0;
const touched = new Set();
// What is being written is kept in this tab until it is saved: a session may end before.
const keptAs = `fs-rule:${location.pathname}`;
const SENT = "fs-rule-sent";
let isSaving = false;
let isPressed = false;

// ---------------------------------------------------------------- what there is to choose

const writing = () => ({ operators, kindOf, event: rule.trigger[0] ?? "transaction", inFilter: false, problem: refuse });

// A field chooser; "metadata…" opens a text box for the path.
function fieldPicker(path, label, names, value, change, options = {}) {
  const isMetadata = value.startsWith("metadata.");
  const takesMetadata = names.every((each) => each === "transaction");
  const list = fieldsOf(names, options).filter((each) => !options.kinds || options.kinds.includes(each.kind))
    .map((each) => ({ name: each.name, label: each.label, help: each.help }));
  if (options.optional) list.unshift({ name: "", label: options.optional });
  if (takesMetadata) list.push({ name: "metadata.", label: "own data (metadata) …" });
  const parts = [select(path, label, list, isMetadata ? "metadata." : value, (chosen) => { change(chosen); render(); })];
  if (isMetadata) parts.push(input(`${path}.name`, `${label}: name in the metadata`, value.slice(9), (text) => changed(() => change(`metadata.${text}`)), { placeholder: "name, e.g. device.os" }));
  return parts;
}

function duration(path, label, pair, { optional = false } = {}) {
  return [
    input(path, `${label}: how many`, pair[0], (text) => changed(() => { pair[0] = text.trim(); }), { inputmode: "numeric", class: "fs-narrow", placeholder: optional ? "none" : null }),
    select(`${path}.unit`, `${label}: unit`, choices.units, pair[1], (unit) => changed(() => { pair[1] = unit; })),
  ];
}

// ---------------------------------------------------------------- the parts of a condition

function groupView(group, path, scope, remove) {
  const full = scope.depth >= choices.limits.depth - 1;
  const add = (item) => changed(() => group.items.push(item), true);
  const listed = fieldsOf([scope.event], scope).map((each) => each.name);
  const first = ["amount", "success", "event_type", "alert_type"].find((each) => listed.includes(each)) ?? "user_id";
  return h("div", { class: "rb-group", role: "group", "aria-label": scope.inFilter ? "filters" : "conditions", "data-path": group.at ?? path },
    h("div", { class: "rb-head" },
      select(`${path}#mode`, "how these combine", MODES, group.mode, (mode) => changed(() => { group.mode = mode; }, true)),
      remove && h("span", { class: "rb-spacer" }), remove && button(`${path}#remove`, "Remove group", remove, "small link", "Remove this group")),
    h("div", { class: "rb-items" }, group.items.map((item, index) => {
      const inner = `${path}/${index}`;
      const drop = () => changed(() => group.items.splice(index, 1), true);
      return item.type === "group" ? groupView(item, inner, { ...scope, depth: scope.depth + 1 }, drop) : comparisonView(item, inner, scope, drop);
    })),
    h("div", { class: "rb-foot" },
      button(`${path}#add`, scope.inFilter ? "Add filter" : "Add condition", () => add(emptyComparison(first))),
      !scope.inFilter && button(`${path}#count`, "Add a count or total", () => add({ ...emptyComparison(""), measure: "count", aggregate: { ...emptyAggregate(), event: scope.event } })),
      !full && button(`${path}#group`, "Add group", () => add({ type: "group", mode: "any", items: [emptyComparison(first)] }))));
}

function comparisonView(node, path, scope, remove) {
  const at = node.at ?? path;
  const measures = [{ name: "", label: scope.inFilter ? "its" : `this ${events[scope.event].one}'s` }];
  if (!scope.inFilter) measures.push(...choices.aggregates.map((each) => ({ name: each.name, label: each.label, help: each.help })));
  const line = h("div", { class: "rb-line" },
    scope.inFilter ? word("its") : select(`${at}.aggregate_function`, "what is looked at", measures, node.measure, (measure) => changed(() => setMeasure(node, measure, scope), true)));
  if (!node.measure) line.append(...fieldPicker(`${at}.field`, "field", scope.events ?? [scope.event], node.field, (field) => changed(() => { node.field = field; fitOperator(node, scope); }), scope));
  const box = h("div", { class: "rb-comparison", "data-path": at }, line);
  if (node.measure) box.append(...aggregateView(node.measure, node.aggregate, at, scope, line));
  const kind = node.measure ? "number" : kindOf(scope.event, node.field);
  const test = node.measure ? h("div", { class: "rb-line" }) : line;
  test.append(select(`${at}.operator`, "comparison", operatorsFor(kind, Boolean(node.measure)), node.operator, (operator) => changed(() => { node.operator = operator; fitOperator(node, scope); }, true)));
  test.append(...valueView(node, kind, `${at}.value`, scope));
  if (node.measure) box.append(test);
  line.append(h("span", { class: "rb-spacer" }), button(`${at}#remove`, "Remove", remove, "small link", "Remove this condition"));
  if (node.value.source === "aggregate" && operators[node.operator]?.shape === "scalar") box.append(baselineView(node.value, `${at}.value.aggregate`, scope));
  return box;
}

function setMeasure(node, measure, scope) {
  const wasField = !node.measure;
  node.measure = measure;
  if (!measure) { node.field ||= "amount"; } else {
    if (wasField) node.aggregate = { ...emptyAggregate(), event: scope.event };
    fitAggregate(measure, node.aggregate);
  }
  fitOperator(node, scope);
}

function fitAggregate(name, model) {
  const aggregate = aggregates[name];
  const fitting = choices.fields[model.event].filter((each) => aggregate.kinds.includes(each.kind));
  if (!aggregate.kinds.length) model.field = "";
  else if (aggregate.needs_field && !fitting.some((each) => each.name === model.field) && !model.field.startsWith("metadata."))
    model.field = fitting.find((each) => ["amount", "device_id", "user_id"].includes(each.name))?.name ?? fitting[0]?.name ?? "";
}

function fitOperator(node, scope) {
  const kind = node.measure ? "number" : kindOf(scope.event, node.field);
  const fitting = operatorsFor(kind, Boolean(node.measure));
  if (!fitting.some((each) => each.name === node.operator)) node.operator = fitting[0].name;
  if (!sourcesFor(node, kind, scope).some((each) => each.name === node.value.source)) node.value.source = "constant";
}

function aggregateView(name, model, at, scope, line) {
  const aggregate = aggregates[name];
  const noun = events[model.event].many;
  const field = fieldPicker(`${at}.field`, "field", [model.event], model.field, (chosen) => changed(() => { model.field = chosen; }),
    { kinds: aggregate.kinds, optional: aggregate.needs_field ? null : "(any currency)" });
  const eventSelect = select(`${at}.event`, "which events", choices.events.map((each) => ({ name: each.name, label: each.many })), model.event, (event) => changed(() => {
    Object.assign(model, { event, filters: { type: "group", mode: "all", items: [] } });
    model.group = model.group.filter((each) => choices.fields[event].some((other) => other.name === each.event_field));
    if (!model.group.length) model.group = [{ event_field: "user_id", current_field: "user_id" }];
    if (!choices.fields[event].some((other) => other.name === model.field)) model.field = "";
    fitAggregate(name, model);
  }, true));
  if (name === "count") {
    line.append(eventSelect);
    // Of any field but the amount the number is the same: it stays as it is written.
    const any = model.field === "amount" ? "" : model.field;
    if (model.event === "transaction") line.append(select(`${at}.field`, "in which currency", [{ name: any, label: "in any currency" }, { name: "amount", label: "in this payment's currency" }], model.field, (chosen) => changed(() => { model.field = chosen; })));
  } else {
    if (aggregate.kinds.length) line.append(word("of"), ...field);
    line.append(word(aggregate.from_previous ? "one of the" : "over"), eventSelect);
  }
  const extent = h("div", { class: "rb-line" }, select(`${at}.time_window#extent`, "how far back", EXTENTS, model.extent, (chosen) => changed(() => { model.extent = chosen; }, true)));
  if (model.extent === "window") extent.append(...duration(`${at}.time_window`, "window", model.window));
  if (model.extent === "last") extent.append(input(`${at}.last`, "how many events", model.last, (text) => changed(() => { model.last = text.trim(); }), { inputmode: "numeric", class: "fs-narrow" }), word("events"));
  return [extent, groupByView(model, at, scope), filtersView(model, at, scope, noun), moreView(name, model, at)];
}

function groupByView(model, at, scope) {
  const line = h("div", { class: "rb-line", "data-path": `${at}.group_by` }, word("with the same"));
  model.group.forEach((key, index) => {
    const path = `${at}.group_by[${index}]`;
    if (index) line.append(word("and"));
    line.append(...fieldPicker(path, "grouped by", [model.event], key.event_field, (name) => changed(() => {
      if (key.current_field === key.event_field) key.current_field = name;
      key.event_field = name;
    }), { group: true }));
    if (key.crosses || key.current_field !== key.event_field) {
      line.append(word(`as this ${events[scope.event].one}'s`), ...fieldPicker(`${path}.current`, "field of the screened event", [scope.event], key.current_field, (name) => changed(() => { key.current_field = name; }), { group: true }));
    } else {
      line.append(button(`${path}#cross`, "…as another field", () => changed(() => { key.crosses = true; }, true), "small link", "…as another field of the screened event"));
    }
    if (model.group.length > 1) line.append(button(`${path}#remove`, "✕", () => changed(() => model.group.splice(index, 1), true), "small link", "Remove this field"));
  });
  if (model.group.length < choices.limits.group_fields) line.append(button(`${at}.group_by#add`, "and …", () => changed(() => {
    const used = new Set(model.group.map((each) => each.event_field));
    const next = ["merchant_id", "counterparty_account_id", "device_id", "account_id", "user_id"].find((each) => !used.has(each) && choices.fields[model.event].some((field) => field.name === each)) ?? "user_id";
    model.group.push({ event_field: next, current_field: next });
  }, true), "small link", "and … one more field"));
  return line;
}

function filtersView(model, at, scope, noun) {
  const inner = { event: model.event, current: scope.event, inFilter: true, depth: scope.depth + 1 };
  if (!model.filters.items.length) {
    return h("div", { class: "rb-line", "data-path": `${at}.filters` }, button(`${at}.filters#first`, `Count only some ${noun} …`, () => changed(() => model.filters.items.push(emptyComparison(model.event === "transaction" ? "amount" : "user_id")), true), "small link"));
  }
  return h("div", { class: "rb-nested" }, word(`counting only ${noun} for which`), groupView(model.filters, `${at}.filters`, inner, null));
}

function moreView(name, model, at) {
  const aggregate = aggregates[name];
  const parts = [check(`${at}.exclude_current`, "leave out the event that is screened", model.exclude, (value) => changed(() => { model.exclude = value; }))];
  if (model.extent !== "last") parts.push(h("div", { class: "rb-line" }, word("the window ends"), ...duration(`${at}.delay`, "delay", model.delay, { optional: true }), word("before the screened event")));
  if (aggregate.over_buckets && model.extent === "window") {
    parts.push(h("div", { class: "rb-line" }, word("over totals per"), ...duration(`${at}.bucket`, "bucket", model.bucket, { optional: true }), word("of"),
      select(`${at}.of`, "total of what", [{ name: "count", label: "the number of events" }, { name: "sum", label: "the field's sum" }], model.of, (of) => changed(() => { model.of = of; }))));
  }
  const details = h("details", { class: "rb-more" }, h("summary", {}, "More: leave out, delay, totals per day"), h("div", {}, parts));
  details.open = model.open ?? (model.exclude || model.delay[0] !== "" || model.bucket[0] !== "");
  details.addEventListener("toggle", () => { model.open = details.open; });
  return details;
}

// ---------------------------------------------------------------- the right-hand side

function valueView(node, kind, at, scope) {
  const value = node.value;
  const shape = operators[node.operator]?.shape ?? "scalar";
  const text = (key, label, extra = {}) => input(key === "high" ? `${at}[1]` : at, label, value[key], (given) => changed(() => { value[key] = given; }), extra);
  const hint = hintFor(node, scope);
  const behind = hint ? [word(hint)] : [];
  const likeness = () => [word("at least"), input(`${at}.threshold`, "likeness, 0 to 100", value.threshold, (given) => changed(() => { value.threshold = given; }), { class: "fs-narrow", inputmode: "decimal", placeholder: String(choices.limits.similarity) }), word("% alike")];
  const lists = () => select(at, "named list", [{ name: "", label: choices.lists.length ? "choose a list" : "there is no list yet" }, ...choices.lists], value.text, (name) => changed(() => { value.text = name; }));
  switch (shape) {
    case "none": return [];
    case "list": return [listBox(value, at, "values, one a line"), kind === "any" && typePicker(value, at), ...fewChoices(node, scope), ...behind].filter(Boolean);
    case "networks": return [listBox(value, at, "networks, one a line, such as 10.0.0.0/8")];
    case "pair": return [text("text", "from", { inputmode: "decimal" }), word("and"), text("high", "to", { inputmode: "decimal" }), ...behind];
    case "step": return [text("text", "number", { inputmode: "decimal" }), ...behind];
    case "pattern": return [text("text", "pattern (RE2)", { placeholder: "regular expression (RE2)" })];
    case "list_name": return [lists()];
    case "fuzzy_list": return [lists(), ...likeness()];
  }
  const sources = sourcesFor(node, kind, scope);
  const parts = [];
  if (sources.length > 1) parts.push(select(`${at}#source`, "compared with", sources, value.source, (chosen) => changed(() => setSource(node, chosen, kind, scope), true)));
  if (value.source === "constant") parts.push(...constantView(node, kind, at, scope, text), ...behind);
  if (value.source === "field" || value.source === "current") {
    const from = value.source === "current" ? [scope.current ?? "transaction"] : [scope.event];
    const kinds = kind === "any" ? null : ["number", "money"].includes(kind) ? ["number", "money"] : [kind];
    parts.push(...fieldPicker(`${at}.${value.source}`, "field", from, value.name, (name) => changed(() => { value.name = name; }), { kinds }));
    if (shape === "scalar" && ["number", "money", "any"].includes(kind)) parts.push(...scaleView(value, at));
  }
  if (value.source === "aggregate") parts.push(...scaleView(value, at), word("as below"));
  if (shape === "similar") parts.push(...likeness());
  return parts;
}

function setSource(node, chosen, kind, scope) {
  const value = node.value;
  value.source = chosen;
  if (chosen === "aggregate" && !value.aggregate) Object.assign(value, { measure: "avg", aggregate: { ...emptyAggregate(), event: scope.event, field: node.measure ? "" : node.field, window: ["30", "d"], exclude: true, open: true }, times: "3" });
  if (chosen === "aggregate") fitAggregate(value.measure, value.aggregate);
  if (chosen === "field" || chosen === "current") {
    const same = choices.fields[chosen === "current" ? scope.current ?? "transaction" : scope.event].filter((each) => each.kind === kind || (kind === "number" && each.kind === "money") || (kind === "money" && each.kind === "number"));
    if (!same.some((each) => each.name === value.name)) value.name = (chosen === "current" && same.find((each) => each.name === node.field)?.name) || same.find((each) => each.name !== node.field)?.name || "amount";
  }
}

function fewChoices(node, scope) {
  const few = choicesOf(node, scope);
  return few.length ? [word(`of ${few.join(", ")}`)] : [];
}

function constantView(node, kind, at, scope, text) {
  const value = node.value;
  const few = ["eq", "ne"].includes(node.operator) ? choicesOf(node, scope) : [];
  const isFlag = kind === "boolean" || (kind === "any" && value.type === "boolean");
  const parts = [];
  if (isFlag) {
    if (value.text !== "true" && value.text !== "false") value.text = "true";
    parts.push(select(at, "value", [{ name: "true", label: "yes" }, { name: "false", label: "no" }], value.text, (given) => changed(() => { value.text = given; })));
  } else if (few.length) {
    parts.push(select(at, "value", [{ name: "", label: "choose …" }, ...few], value.text, (given) => changed(() => { value.text = given; })));
  } else if (kind === "time") {
    parts.push(text("text", "time", { placeholder: "2026-11-22T14:03:00Z" }));
  } else {
    parts.push(text("text", "value", ["number", "money"].includes(kind) ? { inputmode: "decimal" } : {}));
  }
  if (kind === "any" && ["eq", "ne"].includes(node.operator)) parts.push(typePicker(value, at));
  return parts;
}

function typePicker(value, at) {
  const kinds = [{ name: "text", label: "text" }, { name: "number", label: "a number" }, { name: "boolean", label: "yes or no" }];
  if (value.type === "mixed") kinds.push({ name: "mixed", label: "of several kinds", help: "each as it is written: 5 is a number, true is yes, anything else is text" });
  return select(`${at}#type`, "kind of value", kinds, value.type, (type) => changed(() => { value.type = type; }, true));
}

function listBox(value, at, label) {
  const box = h("textarea", { id: idOf(at), "data-path": at, rows: 3, "aria-label": label, placeholder: label, style: "max-width:22rem", oninput: (event) => changed(() => { value.list = event.target.value; }) });
  box.value = value.list;
  return box;
}

function scaleView(value, at) {
  return [word("×"), input(`${at}.times`, "times", value.times, (given) => changed(() => { value.times = given; }), { class: "fs-narrow", inputmode: "decimal", placeholder: "1" }),
    word("+"), input(`${at}.plus`, "plus", value.plus, (given) => changed(() => { value.plus = given; }), { class: "fs-narrow", inputmode: "decimal", placeholder: "0" })];
}

function baselineView(value, at, scope) {
  const line = h("div", { class: "rb-line" }, select(`${at}.aggregate_function`, "figure of the past", choices.aggregates.filter((each) => !each.from_previous).map((each) => ({ name: each.name, label: `the ${each.label}`, help: each.help })), value.measure,
    (measure) => changed(() => { value.measure = measure; fitAggregate(measure, value.aggregate); }, true)));
  return h("div", { class: "rb-nested", "data-path": at }, line, aggregateView(value.measure, value.aggregate, at, scope, line));
}

// ---------------------------------------------------------------- the rule around the conditions

function headView() {
  const set = (key) => (text) => changed(() => { rule[key] = text; });
  const types = h("datalist", { id: "rb-rule-types" }, choices.rule_types.map((each) => h("option", { value: each })));
  return h("section", { class: "fs-card fs-stack" }, h("h2", {}, "The rule"),
    h("div", { class: "fs-fields" },
      labelled("name", "Name", input("name", "Name", rule.name ?? "", set("name"), { class: "fs-wide", maxlength: 120, required: true })),
      labelled("rule_type", "Type", input("rule_type", "Type", rule.rule_type ?? "", set("rule_type"), { class: "fs-wide", list: "rb-rule-types", maxlength: 40 })),
      labelled("priority", "Priority", input("priority", "Priority", String(rule.priority ?? 1), (text) => changed(() => { rule.priority = /^-?\d+$/.test(text) ? Number(text) : text; }), { class: "fs-wide", inputmode: "numeric" }))),
    types,
    labelled("description", "What it is for", input("description", "What it is for", rule.description ?? "", set("description"), { class: "fs-wide", maxlength: 2000 })),
    h("fieldset", { class: "fs-row", "data-path": "trigger" }, h("legend", { class: "fs-label" }, "Evaluated on"),
      choices.events.map((each) => check(`trigger.${each.name}`, each.many, rule.trigger.includes(each.name), (value) => changed(() => {
        rule.trigger = choices.events.map((event) => event.name).filter((name) => (name === each.name ? value : rule.trigger.includes(name)));
        if (!rule.trigger.length) rule.trigger = ["transaction"];
      }, true))),
      check("is_active", "switched on", rule.is_active !== false, (value) => changed(() => { rule.is_active = value; }))));
}

function actionsView() {
  return h("section", { class: "fs-card fs-stack" }, h("h2", {}, "When they hold, then"),
    rule.actions.map((action, index) => actionView(action, index)),
    h("div", {}, button("actions#add", "Add an action", () => changed(() => rule.actions.push({ action_type: "flag", parameters: {} }), true))));
}

function actionView(action, index) {
  const at = `actions[${index}]`;
  const parameters = (action.parameters ??= {});
  const put = (key, toValue = (text) => text) => (text) => changed(() => { if (text === "") delete parameters[key]; else parameters[key] = toValue(text); });
  const decimal = (text) => writtenNumber(text.trim());
  const field = (key, label, extra = {}, toValue) => labelled(`${at}.parameters.${key}`, label, input(`${at}.parameters.${key}`, label, String(parameters[key] ?? ""), put(key, toValue), { class: "fs-wide", ...extra }));
  const [count, unit] = splitDuration(parameters.horizon, ["", "m"]);
  const horizon = [count, unit];
  const setHorizon = () => { if (horizon[0]) parameters.horizon = horizon.join(""); else delete parameters.horizon; };
  const signal = h("details", { class: "rb-more" }, h("summary", {}, "More: severity, signal on the account's risk"),
    h("div", {}, h("div", { class: "fs-fields" },
      labelled(`${at}.parameters.severity`, "Severity", select(`${at}.parameters.severity`, "Severity", [{ name: "", label: "not said" }, ...choices.severities], parameters.severity ?? "", put("severity"), { class: "fs-wide" })),
      field("signal", "Raises the signal"), field("weight", "with weight (0 to 1)", { inputmode: "decimal" }, decimal),
      h("div", {}, h("span", { class: "fs-label" }, "for"), h("div", { class: "fs-row" },
        input(`${at}.parameters.horizon`, "horizon: how many", horizon[0], (text) => changed(() => { horizon[0] = text.trim(); setHorizon(); }), { class: "fs-narrow", inputmode: "numeric" }),
        select(`${at}.parameters.horizon.unit`, "horizon: unit", choices.units, horizon[1], (chosen) => changed(() => { horizon[1] = chosen; setHorizon(); })))))));
  signal.open = Boolean(parameters.signal || parameters.severity || parameters.weight);
  return h("div", { class: "rb-comparison", "data-path": at },
    h("div", { class: "fs-fields" },
      labelled(`${at}.action_type`, "Do", select(`${at}.action_type`, "Do", choices.action_types, action.action_type, (type) => changed(() => { action.action_type = type; }), { class: "fs-wide" })),
      field("risk_score", "Risk score (0 to 100)", { inputmode: "decimal" }, decimal),
      field("reason", "Reason shown", { maxlength: 500 })),
    signal,
    rule.actions.length > 1 && h("div", { class: "rb-foot" }, button(`${at}#remove`, "Remove", () => changed(() => rule.actions.splice(index, 1), true), "small link", "Remove this action")));
}

// ---------------------------------------------------------------- drawing, writing, asking

function load() {
  const written = parseDocument(source.value);
  conditions = readGroup(written.conditions);
  if (conditions.type !== "group") conditions = { type: "group", mode: "all", items: [conditions] };
  rule = { ...written };
  rule.trigger = Array.isArray(rule.trigger) && rule.trigger.length ? rule.trigger : ["transaction"];
  rule.actions = Array.isArray(rule.actions) ? rule.actions : [];
}

function write() {
  refused = [];
  rule.conditions = writeConditions(conditions, "conditions", writing());
  rule.actions.forEach(({ parameters = {} }, index) => ["risk_score", "weight"].forEach((key) => {
    const given = parameters[key];
    if (typeof given === "string" && readNumber(given) === undefined) refuse(`actions[${index}].parameters.${key}`, noNumber(given));
  }));
  source.value = documentText(rule);
}

function refuse(path, message) { refused.push({ path, message, isWrong: true }); }

function changed(change, redraw = false) {
  change();
  write();
  sessionStorage.setItem(keptAs, source.value);
  if (redraw) render(); else markTouched(document.activeElement);
  ask();
}

function controls() { return [...root.querySelectorAll("input, select, textarea, button, summary")].filter((each) => each.checkVisibility()); }

function render() {
  const focused = document.activeElement?.id;
  const before = controls();
  const behind = before.length - 1 - before.indexOf(document.activeElement);
  const scope = { event: rule.trigger[0], events: rule.trigger, inFilter: false, depth: 0 };
  write();
  root.replaceChildren(headView(),
    h("section", { class: "fs-card fs-stack", "data-path": "conditions" }, h("h2", {}, "The rule hits when"), groupView(conditions, "conditions", scope, null)),
    actionsView());
  // Drawing fills in what a control cannot leave open, such as yes or no.
  write();
  // What had the focus may be gone, as the button of what it removed: it goes to what came after.
  if (behind < before.length) (document.getElementById(focused) ?? controls().at(-behind))?.focus();
  showProblems();
}

function markTouched(element) {
  if (element?.dataset?.path) touched.add(element.dataset.path);
}

let waiting = 0;
let asked = 0;
function ask() {
  clearTimeout(waiting);
  waiting = setTimeout(validate, 250);
}

async function validate() {
  const turn = ++asked;
  let answer;
  try {
    const response = await fetch(form.dataset.validateUrl, { method: "POST", body: source.value, credentials: "same-origin",
      headers: { "Content-Type": "application/json", "X-CSRFToken": form.elements.csrfmiddlewaretoken.value } });
    if (response.redirected || response.status === 403) return sessionEnded();
    if (!response.ok) throw new Error(String(response.status));
    answer = await response.json();
  } catch (error) {
    document.getElementById("rule-notes").textContent = `The rule could not be checked just now (${error.message}).`;
    return [];
  }
  if (turn !== asked) return [...answer.problems, ...refused];
  // What the page refuses it says better than the server, which sees only what became of it.
  problems = [...answer.problems.filter((each) => !refused.some(({ path }) => path === each.path)).map((each) => ({ ...each, isWrong: !isMissing(each.path) })), ...refused];
  showAnswer(answer);
  showProblems();
  return problems;
}

// Nothing can be checked or saved now; after a login this page is shown again and offers what was written.
function sessionEnded() {
  sessionStorage.setItem(keptAs, source.value);
  const login = `${form.dataset.loginUrl}?next=${encodeURIComponent(location.pathname + location.search)}`;
  document.getElementById("rule-sentence").textContent = "Your session has ended, so nothing can be saved.";
  document.getElementById("rule-notes").replaceChildren(h("p", {}, "What you have written is kept in this tab. ", h("a", { href: login }, "Log in and go on"), "."));
  return null;
}

function offerKept() {
  sessionStorage.removeItem(SENT);
  const kept = sessionStorage.getItem(keptAs);
  if (!kept || kept === source.value || problems.length) return;
  const offer = h("div", { class: "fs-callout warn fs-row", role: "status", id: "rule-kept" }, h("span", {}, "You had written something here that was not saved."),
    h("button", { type: "button", class: "fs-button small", onclick: () => { source.value = kept; offer.remove(); load(); render(); ask(); } }, "Take it up again"),
    h("button", { type: "button", class: "fs-button small", onclick: () => { sessionStorage.removeItem(keptAs); offer.remove(); } }, "Throw it away"));
  form.prepend(offer);
}

// Whether nothing stands there yet, rather than something wrong.
function isMissing(path) {
  let found = rule;
  for (const [key] of path.matchAll(/[^.[\]]+/g)) found = found?.[key];
  return found == null || found === "" || (Array.isArray(found) && !found.length);
}

function stateInWords() {
  const wrong = problems.filter((each) => each.isWrong).length;
  const missing = problems.length - wrong;
  const said = [
    missing && (missing === 1 ? "One thing is still to be filled in." : `${missing} things are still to be filled in.`),
    wrong && (wrong === 1 ? "One thing is not right:" : `${wrong} things are not right. The first:`) + ` ${problems.find((each) => each.isWrong).message}`,
  ];
  return said.filter(Boolean).join(" ");
}

function showAnswer({ sentence, warnings, clock, counts }) {
  document.getElementById("rule-sentence").textContent = problems.length ? stateInWords() : sentence;
  const notes = [...warnings.map((each) => `Take care: ${each}.`), ...(clock ? [clock] : []), ...(counts.length ? [`Counts ${counts.join("; ")}.`] : [])];
  document.getElementById("rule-notes").replaceChildren(...notes.map((each) => h("p", { class: "fs-muted" }, each)));
}

// Between a press and its release nothing moves: a message that pushed the page down would take the click elsewhere.
function holdStillWhilePressed() {
  const release = () => setTimeout(() => { isPressed = false; showProblems(); });
  document.addEventListener("pointerdown", (event) => { isPressed = event.target.closest("button, a, label, summary") !== null; }, true);
  for (const end of ["pointerup", "pointercancel"]) document.addEventListener(end, release, true);
}

function showProblems() {
  if (isPressed) return;
  root.querySelectorAll(".fs-problem").forEach((each) => each.remove());
  root.querySelectorAll("[aria-invalid]").forEach((each) => { each.removeAttribute("aria-invalid"); each.removeAttribute("aria-describedby"); });
  problems.forEach((problem, index) => {
    const control = controlFor(problem.path);
    if (!control || (!showAll && !touched.has(control.dataset.path))) return;
    // Of an empty box it is enough to say what belongs there, not what JSON has in its place.
    const said = problem.isWrong === false ? problem.message.replace(/, found .*$/s, "") : problem.message;
    const note = h("p", { class: "fs-problem", id: `rb-problem-${index}` }, said);
    control.setAttribute("aria-invalid", "true");
    control.setAttribute("aria-describedby", note.id);
    const line = control.closest(".rb-line") ?? control;
    if (control.matches("input,select,textarea")) line.append(note), line === control && control.after(note);
    else control.append(note);
  });
}

// The control a path is about, else the nearest part around it.
function controlFor(path) {
  let wanted = path;
  while (wanted) {
    const found = [...root.querySelectorAll("[data-path]")].filter((each) => each.dataset.path === wanted);
    if (found.length) return found.find((each) => each.matches("input,select,textarea")) ?? found[0];
    wanted = wanted.replace(/(\.[^.[\]]+|\[\d+\])$|^[^.[\]]+$/, "");
  }
  return root.querySelector("[data-path]");
}

async function submit(event) {
  if (form.dataset.checked) return;
  event.preventDefault();
  // A second click while the first is under way would save twice.
  if (isSaving) return;
  isSaving = true;
  const submitter = event.submitter;
  clearTimeout(waiting);
  const found = await validate();
  showAll = true;
  if (found === null || found.length) {
    isSaving = false;
    if (found === null) return;
    showProblems();
    const first = root.querySelector("[aria-invalid]");
    first?.closest("details")?.setAttribute("open", "");
    first?.scrollIntoView({ block: "center" });
    first?.focus();
    return;
  }
  form.dataset.checked = "1";
  sessionStorage.setItem(keptAs, source.value);
  sessionStorage.setItem(SENT, keptAs);
  form.requestSubmit(submitter);
}

function start() {
  const json = document.getElementById("rule-json");
  const toggle = document.getElementById("toggle-json");
  json.hidden = true;
  root.hidden = toggle.hidden = false;
  toggle.addEventListener("click", () => {
    json.hidden = !json.hidden;
    toggle.textContent = json.hidden ? "Show JSON" : "Hide JSON";
    toggle.setAttribute("aria-expanded", String(!json.hidden));
  });
  source.addEventListener("change", () => { try { load(); render(); ask(); } catch { /* not JSON yet: the server says so on saving */ } });
  root.addEventListener("focusout", (event) => { markTouched(event.target); showProblems(); });
  form.addEventListener("submit", submit);
  holdStillWhilePressed();
  form.querySelector("a.fs-button")?.addEventListener("click", () => sessionStorage.removeItem(keptAs));
  // Gone back to: it may be sent again.
  window.addEventListener("pageshow", () => { isSaving = false; delete form.dataset.checked; });
  load();
  render();
  offerKept();
  validate();
}

try { start(); } catch (error) {
  root.hidden = true;
  document.getElementById("rule-json").hidden = false;
  throw error;
}
