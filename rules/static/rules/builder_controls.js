// Building the page's elements: small wrappers that keep labels, ids and paths in one place.

export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value == null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (name === "value" && tag !== "option") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((each) => each != null && each !== false));
  return element;
}

export const word = (text) => h("span", { class: "rb-word" }, text);

// `options`: [{name, label, help?}], or strings. An unknown current value stays choosable, so nothing is lost by looking.
export function select(path, label, options, value, change, extra = {}) {
  const list = options.map((each) => (typeof each === "string" ? { name: each, label: each } : each));
  if (value !== "" && value != null && !list.some((each) => each.name === value)) list.unshift({ name: value, label: value });
  const element = h("select", { id: idOf(path), "data-path": path, "aria-label": label, ...extra,
    onchange: (event) => change(event.target.value) },
  list.map((each) => h("option", { value: each.name, title: each.help ?? null }, each.label)));
  element.value = value ?? "";
  return element;
}

export function input(path, label, value, change, extra = {}) {
  return h("input", { id: idOf(path), "data-path": path, "aria-label": label, type: "text", value, autocomplete: "off", ...extra,
    oninput: (event) => change(event.target.value) });
}

export function check(path, label, value, change) {
  const box = h("input", { type: "checkbox", id: idOf(path), "data-path": path, onchange: (event) => change(event.target.checked) });
  box.checked = value;
  return h("label", { class: "fs-check" }, box, label);
}

export function button(id, label, press, kind = "small", description = null) {
  return h("button", { type: "button", class: `fs-button ${kind}`, id: idOf(id), "aria-label": description, onclick: press }, label);
}

export function labelled(path, label, control, help = null) {
  return h("div", {}, h("label", { for: idOf(path) }, label), control, help && h("p", { class: "fs-muted fs-small" }, help));
}

export const idOf = (path) => `rb-${path.replace(/[^A-Za-z0-9]+/g, "-")}`;
