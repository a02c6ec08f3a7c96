// What there is to choose from in the rule builder: the language's own tables, as the page brings them.

export const choices = JSON.parse(document.getElementById("rule-choices").textContent);
export const operators = Object.fromEntries(choices.operators.map((each) => [each.name, each]));
export const aggregates = Object.fromEntries(choices.aggregates.map((each) => [each.name, each]));
export const events = Object.fromEntries(choices.events.map((each) => [each.name, each]));

export function fieldsOf(names, { inFilter = false, group = false } = {}) {
  const common = choices.fields[names[0]].filter((each) => names.every((event) => choices.fields[event].some((other) => other.name === each.name)));
  const listed = inFilter && common.some((each) => each.name === "latitude") ? [...common, choices.distance] : common;
  return listed.filter((each) => !group || each.can_group);
}

export function kindOf(event, name) {
  if ((name ?? "").startsWith("metadata.")) return "any";
  return knownField(event, name)?.kind ?? "any";
}

// A field as it is chosen from; metadata has none of that.
export function knownField(event, name) {
  return choices.fields[event]?.find((each) => each.name === name) ?? (name === "distance_km_to_current" ? choices.distance : null);
}

// What stands behind the box of a value: seconds, km, the currency, what the numbers mean.
export function hintFor(node, scope) {
  const { measure, aggregate: model } = node;
  if (!measure) return knownField(scope.event, node.field)?.hint ?? "";
  const isCount = model.extent === "window" && model.bucket[0] && model.of === "count";
  return aggregates[measure].unit || (aggregates[measure].is_of_field && !isCount && knownField(model.event, model.field)?.hint) || "";
}

export function operatorsFor(kind, isAggregate) {
  return choices.operators.filter((each) => each.kinds.includes(kind) && (!isAggregate || each.fits_aggregates));
}

export function sourcesFor(node, kind, scope) {
  const operator = operators[node.operator] ?? {};
  const list = [{ name: "constant", label: "the value" }];
  if (!operator.takes_operand) return list;
  list.push({ name: "field", label: scope.inFilter ? "its own field" : "another field" });
  if (scope.inFilter) list.push({ name: "current", label: `the screened ${events[scope.current ?? "transaction"].one}'s` });
  else if (operator.fits_aggregates && ["number", "money", "any"].includes(kind)) list.push({ name: "aggregate", label: "a figure of the past" });
  return list;
}

// All the texts that a field can have, where there are only those.
export function choicesOf(node, scope) { return (!node.measure && knownField(scope.event, node.field)?.choices) || []; }
