// The rule document as the page edits it, and back. A node remembers in `at` the JSON path it was last written to,
// so that what the server says about a path can be shown beside the control it is about.

const NUMERIC = new Set(["number", "money"]);
const HOW_TO_WRITE = "write it like 1500.75: a point before the decimals, commas only between thousands as in 1,000,000.50";

// A number with more digits than JavaScript's numbers hold, as it is written.
class Exact {
  constructor(digits) { this.digits = digits; }
  toString() { return this.digits; }
}

// JSON in and out with every digit of every number: what is not looked at is not changed.
const MARK = "\u0001exact:";
const TOKENS = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

export function parseDocument(text) {
  JSON.parse(text);
  const marked = text.replace(TOKENS, (token) => token[0] === '"' || String(Number(token)) === token ? token : JSON.stringify(MARK + token));
  return JSON.parse(marked, (_, value) => (typeof value === "string" && value.startsWith(MARK) ? new Exact(value.slice(MARK.length)) : value));
}

export function documentText(document) {
  const text = JSON.stringify(document, (_, value) => (value instanceof Exact ? MARK + value.digits : value), 2);
  return text.replace(TOKENS, (token) => (token[0] === '"' && token.startsWith(JSON.stringify(MARK).slice(0, -1)) ? JSON.parse(token).slice(MARK.length) : token));
}

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
  // `[{"all": […]}]` says what `[…]` says, and stays as it is written.
  if (list.length === 1 && isTree(list[0])) return Object.assign(readCondition(list[0]), { isWrapped: true });
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
    if (Array.isArray(doc.not.any)) return { type: "group", mode: "none", isBare: false, items: doc.not.any.map(readCondition) };
    if (Array.isArray(doc.not.all)) return { type: "group", mode: "notall", isBare: false, items: doc.not.all.map(readCondition) };
    return { type: "group", mode: "none", isBare: true, items: [readCondition(doc.not)] };
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
    model.items = value;
    model.list = value.map(shownInList).join("\n");
    [model.text, model.high] = [value[0] == null ? "" : String(value[0]), value[1] == null ? "" : String(value[1])];
    const types = [...new Set(value.map(typeOf))];
    model.type = types.length > 1 ? "mixed" : types[0] ?? "text";
  } else if (value && typeof value === "object" && !(value instanceof Exact)) {
    readObjectValue(model, value);
  } else if (value != null) {
    model.items = [value];
    model.text = shown(value);
    model.list = model.text;
    model.type = typeOf(value);
  }
  model.stored = value;
  return model;
}

function typeOf(value) { return value instanceof Exact ? "number" : typeof value === "string" ? "text" : typeof value; }

// Boxes hold one line: a line break inside a text is shown as a sign for it.
function shown(value) { return String(value).replace(/\r\n|\r|\n/g, "␤"); }
function shownInList(value) { return value === "" ? '""' : shown(value); }
function meant(text) { return text.replaceAll("␤", "\n"); }

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
    model.text = shown(value.list ?? value.text ?? "");
  }
}

// ---------------------------------------------------------------- model -> document

export function writeConditions(group, at, kinds) {
  group.at = at;
  if (group.mode === "all" && !(group.isWrapped && group.items.length)) return group.items.map((each, index) => writeCondition(each, `${at}[${index}]`, kinds));
  return group.items.length ? [writeCondition(group, `${at}[0]`, kinds)] : [];
}

function writeCondition(node, at, kinds) {
  node.at = at;
  if (node.type === "comparison") return writeComparison(node, at, kinds);
  const key = node.mode === "all" || node.mode === "notall" ? "all" : "any";
  const negated = node.mode === "none" || node.mode === "notall";
  if (negated && node.items.length === 1 && node.isBare !== false) return { not: writeCondition(node.items[0], `${at}.not`, kinds) };
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
  if (isAsStored(value, operator.shape, kind)) return value.stored;
  const writing = { kind, type: value.type, problem: kinds.problem };
  const number = { kind: "number", problem: kinds.problem };
  switch (operator.shape) {
    case "none": return undefined;
    case "list": return listItems(value, at, writing);
    case "pair": return kind === "time" ? [text(value.text), text(value.high)] : [constant(value.text, `${at}[0]`, number), constant(value.high, `${at}[1]`, number)];
    case "networks": return lines(value.list).map((line) => line.trim());
    case "step": return constant(value.text, at, number);
    case "list_name": return value.text;
    case "fuzzy_list": return { list: value.text, ...threshold(value, at, kinds) };
    case "similar": return value.source === "constant" ? { text: meant(value.text), ...threshold(value, at, kinds) }
      : { [value.source]: value.name, ...threshold(value, at, kinds) };
  }
  if (value.source === "aggregate") return { aggregate: writeAggregate(value.measure, value.aggregate, `${at}.aggregate`, kinds), ...scale(value, at, kinds) };
  if (value.source !== "constant" && operator.takes_operand) return { [value.source]: value.name, ...scale(value, at, kinds) };
  if (operator.shape !== "scalar") return text(value.text);
  return constant(value.text, at, kind === "any" && ORDERED.has(node.operator) ? number : writing);
}

const ORDERED = new Set(["gt", "gte", "lt", "lte"]);

// Constants that nobody has touched stay exactly what they were: an empty text, one network that is no list.
function isAsStored(value, shape, kind) {
  const isScalar = shape === "scalar" && typeof value.stored === "string" && ["text", "any", "time"].includes(kind);
  const isKept = isScalar || (value.stored !== "" && ["networks", "similar", "fuzzy_list", "text", "pattern"].includes(shape));
  if (value.source !== "constant" || value.stored == null || !isKept) return false;
  const state = JSON.stringify([shape, kind, value.text, value.list, value.type, value.threshold]);
  value.storedState ??= state;
  return value.storedState === state;
}

// ---------------------------------------------------------------- constants

function constant(given, at, { kind, type = "text", problem }) {
  const trimmed = given.trim();
  if (kind === "boolean" || (kind === "any" && type === "boolean")) return flag(trimmed, at, problem);
  if (NUMERIC.has(kind)) return writtenNumber(trimmed, at, problem);
  if (kind !== "any") return text(given);
  // Free data takes text as readily as a number: what is none must not be sent as one that it might be.
  if (type === "number") return trimmed === "" || readNumber(trimmed) !== undefined ? writtenNumber(trimmed, at) : (problem?.(at, noNumber(trimmed)), null);
  return type === "mixed" ? guessed(given) : text(given);
}

function text(given) { return given === "" ? null : meant(given); }

function flag(given, at, problem) {
  if (given === "") return null;
  if (["true", "yes"].includes(given.toLowerCase())) return true;
  if (["false", "no"].includes(given.toLowerCase())) return false;
  problem?.(at, `“${given}” is neither true nor false`);
  return null;
}

function guessed(given) {
  if (given === "true" || given === "false") return given === "true";
  return readNumber(given.trim()) ?? text(given);
}

// One value a line. A line that stood there before is the value it was, with its type and its spaces.
function listItems(value, at, writing) {
  const before = new Map();
  for (const each of value.items ?? []) before.set(shownInList(each), [...(before.get(shownInList(each)) ?? []), each]);
  return lines(value.list, before).map((line, index) => {
    const known = before.get(line);
    if (known && fits(known[0], writing)) return known.length > 1 ? known.shift() : known[0];
    return constant(line.trim(), `${at}[${index}]`, writing);
  });
}

function fits(value, { kind, type }) {
  const wanted = kind === "any" ? type : NUMERIC.has(kind) ? "number" : kind === "boolean" ? "boolean" : "text";
  return wanted === "mixed" || typeOf(value) === wanted;
}

function lines(written, before = new Map()) { return written.split("\n").filter((line) => line.trim() || before.has(line)); }

const NUMBER = /^[+-]?(\d+|\d{1,3}(,\d{3})+)(\.\d*)?([eE][+-]?\d{1,3})?$/;

// The number a text is, with every digit; undefined when it is none.
export function readNumber(written) {
  const short = written.replace(/^([+-]?)\./, "$10.");
  if (!NUMBER.test(short)) return undefined;
  const plain = short.replaceAll(",", "").replace(/^\+/, "").replace(/^(-?)0+(?=\d)/, "$1").replace(/\.(?=$|e)/i, "");
  const value = Number(plain);
  const least = plain.replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
  // JavaScript writes what is smaller than a millionth with an exponent.
  const kept = Math.abs(value) < 1e-6 && value ? value.toFixed(10).replace(/0+$/, "") : String(value);
  if (Number.isFinite(value) && kept === least) return value;
  return new Exact(plain);
}

export function noNumber(written) { return `“${written}” is no number: ${HOW_TO_WRITE}`; }

// What is no number is sent as it is written, and refused here in words that help.
export function writtenNumber(written, at, problem) {
  if (written === "") return null;
  const found = readNumber(written);
  if (found === undefined) { problem?.(at, noNumber(written)); return written; }
  if (!Number.isFinite(Number(found))) { problem?.(at, `“${written}” is larger than any number a rule may hold`); return written; }
  // Fractions that JavaScript cannot hold are text in the document, which the server reads exactly.
  return found instanceof Exact && found.digits.includes(".") ? found.digits : found;
}

function integer(text) { return /^\d+$/.test(text) ? Number(text) : text || null; }
function threshold(value, at, kinds) { return value.threshold.trim() === "" ? {} : { threshold: writtenNumber(value.threshold.trim(), `${at}.threshold`, kinds.problem) }; }
function scale(value, at, kinds) {
  const written = {};
  for (const key of ["times", "plus"]) if (value[key].trim()) written[key] = writtenNumber(value[key].trim(), `${at}.${key}`, kinds.problem);
  return written;
}
