// Builds the page. Texts are put in as text only, so that nothing which a model, a user or a file
// has written can become markup.

const SVG = "http://www.w3.org/2000/svg";
/** Where a node keeps the functions that say its words anew in another language. */
const SAID = Symbol("said");

/**
 * Makes an element. An attribute or child that is a function is called for its words, now and
 * whenever the language changes; attributes that begin with "on" are listeners.
 */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** Makes an element of a drawing. */
export function s(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** Puts children in the place of all that an element has. */
export function replace(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter(isThere).map(node));
  return element;
}

/** Says all words below an element in the language that holds now. */
export function sayAgain(root) {
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT);
  for (let node = root; node; node = walker.nextNode()) {
    const said = node[SAID];
    if (!said) continue;
    if (node.nodeType === Node.TEXT_NODE) node.data = said();
    else for (const [name, say] of said) set(node, name, say());
  }
}

/** An icon of lines in a square of 24. */
export function icon(path) {
  return s("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true" }, s("path", { d: path }));
}

let numbers = 0;

/** A name for an element that another one points to. */
export function newId() {
  numbers += 1;
  return `part-${numbers}`;
}

/** A control with its label, and a hint where there is one. */
export function field(label, control, hint) {
  control.id ||= newId();
  const parts = [h("label", { for: control.id }, label), control];
  if (hint) {
    const id = `${control.id}-hint`;
    control.setAttribute("aria-describedby", id);
    parts.push(h("p", { class: "hint", id }, hint));
  }
  return h("div", { class: "field" }, parts);
}

/** A box to tick, with its label. */
export function check(label, input) {
  return h("label", { class: "check" }, input, h("span", {}, label));
}

/** Pairs of a name and a value. */
export function facts(pairs) {
  const there = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return h("dl", { class: "facts" }, there.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

/** A table whose cells may be numbers, texts or elements; columns of numbers stand to the right. */
export function table(caption, heads, rows, rightFrom = Infinity) {
  const side = (column) => (column >= rightFrom ? { class: "right" } : {});
  const head = heads.map((text, column) => h("th", { scope: "col", ...side(column) }, text));
  const cells = (row) => row.map((cell, column) => h("td", side(column), cell));
  return h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": caption },
    h("table", {}, h("caption", { class: "unseen" }, caption), h("thead", {}, h("tr", {}, head)),
      h("tbody", {}, rows.map((row) => h("tr", {}, cells(row))))));
}

/** A sentence that stands out: an error, a success or a remark. */
export function note(kind, text) {
  return h("p", { class: `note ${kind}`, role: kind === "bad" ? "alert" : "note" }, text);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (typeof value === "function") {
      element[SAID] = [...(element[SAID] ?? []), [name, value]];
      set(element, name, value());
    } else set(element, name, value);
  }
  element.append(...children.flat(Infinity).filter(isThere).map(node));
  return element;
}

function set(element, name, value) {
  if (name === "value") element.value = value;
  else if (value === true) element.setAttribute(name, "");
  else if (value !== false && isThere(value)) element.setAttribute(name, value);
  else element.removeAttribute(name);
}

function isThere(value) {
  return value !== null && value !== undefined && value !== false;
}

function node(child) {
  if (child instanceof Node) return child;
  if (typeof child !== "function") return document.createTextNode(String(child));
  const text = document.createTextNode(child());
  text[SAID] = child;
  return text;
}
