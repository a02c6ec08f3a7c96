// The rule document as the page edits it, and back. A node remembers in `at` the JSON path it was last written to,
// so that what the server says about a path can be shown beside the control it is about.

const NUMERIC = new Set(["number", "money"]);

export function splitDuration(text, fallback = ["24", "h"]) {
  const found = /^(\d+)([smhdw])$/.exec(text ?? "");
  return found ? [found[1], found[2]] : fallback;
}

export function emptyValue() {
  return { source: "constant", text: "", high: "", list: "", type: "text", name: "", times: "", plus: "", threshold: "" };
}

export function emptyComparison(field = "amount") {
  return { type: "comparison", measure: "", field, operator: "gt", value: emptyValue(), aggregate: emptyAggregate() };
}

export function emptyAggregate() {
  return { event: "transaction", field: "", extent: "window", window: ["24", "h"], last: "5", delay: ["", "d"], bucket: ["", "d"],
    of: "count", exclude: false, group: [{ event_field: "user_id", current_field: "user_id" }],
    filters: { type: "group", mode: "all", items: [] } };
}

// ---------------------------------------------------------------- document -> model

export function readGroup(conditions) {
  const list = Array.isArray(conditions) ? conditions : [];
  if (list.length === 1 && isTree(list[0])) return readCondition(list[0]);
  return { type: "group", mode: "all", items: list.map(readCondition) };
}

function isTree(document) {
  return document && typeof document === "object" && ["all", "any", "not"].some((key) => document[key] != null);
}

function readCondition(document) {
  const doc = document && typeof document === "object" ? document : {};
  if (Array.isArray(doc.all)) return { type: "group", mode: "all", items: doc.all.map(readCondition) };
  if (Array.isArray(doc.any)) return { type: "group", mode: "any", items: doc.any.map(readCondition) };
  if (doc.not != null) {
    if (Array.isArray(doc.not.any)) return { type: "group", mode: "none", items: doc.not.any.map(readCondition) };
    if (Array.isArray(doc.not.all)) return { type: "group", mode: "notall", items: doc.not.all.map(readCondition) };
    return { type: "group", mode: "none", items: [readCondition(doc.not)] };
  }
  return { type: "comparison", measure: doc.aggregate_function ?? "", field: doc.field ?? "", operator: doc.operator ?? "eq",
    value: readValue(doc), aggregate: readAggregate(doc) };
}

function readAggregate(doc) {
  const model = emptyAggregate();
  if (!doc.aggregate_function) return model;
  model.event = doc.event ?? "transaction";
  model.field = doc.field ?? "";
  model.extent = doc.last != null ? "last" : doc.time_window === "lifetime" ? "lifetime" : "window";
  model.window = splitDuration(doc.time_window);
  if (doc.last != null) model.last = String(doc.last);
  model.delay = splitDuration(doc.delay, ["", "d"]);
  model.bucket = splitDuration(doc.bucket, ["", "d"]);
  model.of = doc.of ?? "count";
  model.exclude = doc.exclude_current === true;
  model.group = (doc.group_by ?? ["user_id"]).map((each) => {
    if (typeof each === "string") return { event_field: each, current_field: each };
    const [pair] = Object.entries(each);
    return { event_field: pair[0], current_field: String(pair[1]) };
  });
  model.filters = readGroup(doc.filters ?? []);
  return model;
}

function readValue(doc) {
  const model = emptyValue();
  const value = doc.value;
  if (doc.threshold != null) model.threshold = String(doc.threshold);
  if (Array.isArray(value)) {
    model.list = value.map(String).join("\n");
    [model.text, model.high] = [value[0] == null ? "" : String(value[0]), value[1] == null ? "" : String(value[1])];
    model.type = typeof value[0];
  } else if (value && typeof value === "object") {
    readObjectValue(model, value);
  } else if (value != null) {
    model.text = model.list = String(value);
    model.type = typeof value === "string" ? "text" : typeof value;
  }
  return model;
}

function readObjectValue(model, value) {
  if (value.threshold != null) model.threshold = String(value.threshold);
  if (value.times != null) model.times = String(value.times);
  if (value.plus != null) model.plus = String(value.plus);
  if (value.aggregate) {
    model.source = "aggregate";
    model.measure = value.aggregate.aggregate_function ?? "avg";
    model.aggregate = readAggregate(value.aggregate);
  } else if (value.field != null) {
    model.source = "field";
    model.name = value.field;
  } else if (value.current != null) {
    model.source = "current";
    model.name = value.current;
  } else {
    model.text = String(value.list ?? value.text ?? "");
  }
}

// ---------------------------------------------------------------- model -> document

export function writeConditions(group, at, kinds) {
  group.at = at;
  if (group.mode === "all") return group.items.map((each, index) => writeCondition(each, `${at}[${index}]`, kinds));
  return group.items.length ? [writeCondition(group, `${at}[0]`, kinds)] : [];
}

function writeCondition(node, at, kinds) {
  node.at = at;
  if (node.type === "comparison") return writeComparison(node, at, kinds);
  const key = node.mode === "all" || node.mode === "notall" ? "all" : "any";
  const negated = node.mode === "none" || node.mode === "notall";
  if (negated && node.items.length === 1) return { not: writeCondition(node.items[0], `${at}.not`, kinds) };
  const base = negated ? `${at}.not.${key}` : `${at}.${key}`;
  const list = node.items.map((each, index) => writeCondition(each, `${base}[${index}]`, kinds));
  return negated ? { not: { [key]: list } } : { [key]: list };
}

function writeComparison(node, at, kinds) {
  const doc = node.measure ? writeAggregate(node.measure, node.aggregate, at, kinds) : { field: node.field };
  doc.operator = node.operator;
  const value = writeValue(node, `${at}.value`, kinds);
  if (value !== undefined) doc.value = value;
  return doc;
}

export function writeAggregate(name, model, at, kinds) {
  model.at = at;
  const doc = { aggregate_function: name };
  if (model.field) doc.field = model.field;
  if (model.event !== "transaction") doc.event = model.event;
  if (model.extent === "last") doc.last = integer(model.last);
  else doc.time_window = model.extent === "lifetime" ? "lifetime" : model.window.join("");
  if (model.extent !== "last" && model.delay[0]) doc.delay = model.delay.join("");
  if (model.extent === "window" && model.bucket[0]) Object.assign(doc, { bucket: model.bucket.join(""), of: model.of });
  doc.group_by = model.group.map((each) => each.event_field === each.current_field ? each.event_field : { [each.event_field]: each.current_field });
  const filters = writeConditions(model.filters, `${at}.filters`, { ...kinds, event: model.event, inFilter: true });
  if (filters.length) doc.filters = filters;
  if (model.exclude) doc.exclude_current = true;
  return doc;
}

function writeValue(node, at, kinds) {
  const value = node.value;
  value.at = at;
  const operator = kinds.operators[node.operator] ?? { shape: "scalar" };
  const kind = node.measure ? "number" : kinds.kindOf(kinds.event, node.field);
  switch (operator.shape) {
    case "none": return undefined;
    case "list": return items(value.list).map((each) => constant(each, kind, value.type));
    case "pair": return [constant(value.text, kind, "number"), constant(value.high, kind, "number")];
    case "networks": return items(value.list);
    case "step": return constant(value.text, "number");
    case "list_name": return value.text;
    case "fuzzy_list": return { list: value.text, ...threshold(value) };
    case "similar": return value.source === "constant" ? { text: value.text, ...threshold(value) }
      : { [value.source]: value.name, ...threshold(value) };
  }
  if (value.source === "aggregate") return { aggregate: writeAggregate(value.measure, value.aggregate, `${at}.aggregate`, kinds), ...scale(value) };
  if (value.source !== "constant" && operator.takes_operand) return { [value.source]: value.name, ...scale(value) };
  const ordered = ["gt", "gte", "lt", "lte"].includes(node.operator);
  return constant(value.text, kind === "any" && ordered ? "number" : operator.shape === "scalar" ? kind : "text", value.type);
}

function constant(text, kind, type = "text") {
  const trimmed = text.trim();
  if (kind === "boolean" || (kind === "any" && type === "boolean")) return trimmed === "" ? null : trimmed === "true";
  if (NUMERIC.has(kind) || (kind === "any" && type === "number")) return number(trimmed);
  return text === "" ? null : text;
}

// A JSON number where JavaScript keeps every digit of it, else the text, which the server reads exactly.
function number(text) {
  const plain = text.replaceAll(",", "");
  if (plain === "") return null;
  const value = Number(plain);
  return Number.isFinite(value) && String(value) === plain.replace(/^\+/, "").replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "") ? value : plain;
}

function integer(text) { return /^\d+$/.test(text) ? Number(text) : text || null; }
function items(text) { return text.split(/[\n,;]/).map((each) => each.trim()).filter(Boolean); }
function threshold(value) { return value.threshold === "" ? {} : { threshold: number(value.threshold) }; }
function scale(value) {
  return { ...(value.times.trim() && { times: number(value.times.trim()) }), ...(value.plus.trim() && { plus: number(value.plus.trim()) }) };
}
