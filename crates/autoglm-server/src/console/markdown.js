// Markdown of answers as nodes: paragraphs, headings, lists, quotes, tables, code, emphasis and
// links to http and https. What is none of these stays text, HTML included.

import { h, replace } from "./dom.js";
import { w } from "./words.js";

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([\w+#.-]*)/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*$/;
const RULE = /^ {0,3}([-*_])(\s*\1){2,}\s*$/;
const DIVIDER = /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)+\|?\s*$/;
/** Lists in lists, quotes in quotes: deeper ones are shown at this depth. */
const DEEPEST = 6;

/** Shows a text that grows: only blocks that changed are made anew. */
export class MarkdownView {
  constructor(element) {
    this.element = element;
    this.shown = [];
  }

  show(text) {
    const parts = blocks(text.split("\n"));
    parts.forEach((part, index) => {
      const source = part.lines.join("\n");
      if (this.shown[index] === source) return;
      const made = block(part, 0);
      const old = this.element.childNodes[index];
      if (old) old.replaceWith(made);
      else this.element.append(made);
      this.shown[index] = source;
    });
    this.shown.length = parts.length;
    while (this.element.childNodes.length > parts.length) this.element.lastChild.remove();
  }
}

/** Cuts lines into blocks. */
function blocks(lines) {
  const found = [];
  let at = 0;
  while (at < lines.length) {
    if (lines[at].trim() === "") {
      at += 1;
      continue;
    }
    const kind = kindOf(lines, at);
    const end = endOf(kind, lines, at);
    found.push({ kind, lines: lines.slice(at, end) });
    at = end;
  }
  return found;
}

function kindOf(lines, at) {
  const line = lines[at];
  if (FENCE.test(line)) return "code";
  if (HEADING.test(line)) return "heading";
  if (RULE.test(line)) return "rule";
  if (ITEM.test(line)) return "list";
  if (line.trimStart().startsWith(">")) return "quote";
  if (line.includes("|") && DIVIDER.test(lines[at + 1] ?? "")) return "table";
  return "paragraph";
}

function endOf(kind, lines, at) {
  let end = at + 1;
  if (kind === "heading" || kind === "rule") return end;
  if (kind === "code") return endOfCode(lines, at);
  if (kind === "list") return endOfList(lines, at);
  const goes = {
    quote: (line) => line.trimStart().startsWith(">"),
    table: (line) => line.includes("|"),
    paragraph: (line, place) => line.trim() !== "" && kindOf(lines, place) === "paragraph",
  }[kind];
  while (end < lines.length && goes(lines[end], end)) end += 1;
  return end;
}

function endOfCode(lines, at) {
  const fence = lines[at].match(FENCE)[1];
  const closes = (line) => line.trim().startsWith(fence) && line.trim().replaceAll(fence[0], "") === "";
  for (let end = at + 1; end < lines.length; end += 1) {
    if (closes(lines[end])) return end + 1;
  }
  // It has not come to its end yet.
  return lines.length;
}

/** A list goes on over lines that are indented, and over empty ones before more of it. */
function endOfList(lines, at) {
  let end = at + 1;
  for (let place = at + 1; place < lines.length; place += 1) {
    const line = lines[place];
    if (line.trim() === "") continue;
    const afterGap = lines[place - 1].trim() === "";
    const goesOn = ITEM.test(line) || /^\s{2,}/.test(line) || (!afterGap && kindOf(lines, place) === "paragraph");
    if (!goesOn || RULE.test(line)) break;
    end = place + 1;
  }
  return end;
}

function block({ kind, lines }, depth) {
  switch (kind) {
    case "code": return code(lines);
    case "heading": return heading(lines[0]);
    case "rule": return h("hr");
    case "list": return list(lines, depth);
    case "quote": return quote(lines, depth);
    case "table": return rows(lines);
    default: return h("p", {}, broken(lines));
  }
}

function code(lines) {
  const [, fence, language] = lines[0].match(FENCE);
  const isClosed = lines.length > 1 && lines.at(-1).trim().startsWith(fence);
  const text = lines.slice(1, isClosed ? -1 : undefined).join("\n");
  const copy = navigator.clipboard && h("button", { class: "button quiet", type: "button", onclick: () => navigator.clipboard.writeText(text) }, w("chat.copy"));
  return h("figure", { class: "code" },
    h("figcaption", {}, h("span", {}, language || w("chat.code")), copy),
    h("pre", { tabindex: "0" }, h("code", {}, text)));
}

/** Headings of an answer stand below those of the page. */
function heading(line) {
  const [, marks, text] = line.match(HEADING);
  return h(`h${Math.min(6, marks.length + 2)}`, {}, inline(text));
}

function quote(lines, depth) {
  const inner = lines.map((line) => line.trimStart().slice(1).replace(/^ /, ""));
  return h("blockquote", {}, nested(inner, depth));
}

function nested(lines, depth) {
  if (depth >= DEEPEST) return [h("p", {}, broken(lines))];
  return blocks(lines).map((part) => block(part, depth + 1));
}

function list(lines, depth) {
  const [, indent, mark] = lines[0].match(ITEM);
  const items = [];
  for (const line of lines) {
    const found = line.match(ITEM);
    if (found && found[1].length <= indent.length + 1) items.push([found[3]]);
    else items.at(-1).push(line.replace(/^\s{1,4}/, ""));
  }
  const isOrdered = /\d/.test(mark);
  const start = isOrdered && Number.parseInt(mark, 10) !== 1 ? { start: Number.parseInt(mark, 10) } : {};
  return h(isOrdered ? "ol" : "ul", start, items.map((item) => h("li", {}, itemOf(item, depth))));
}

/** An item of one paragraph has no paragraph of its own. */
function itemOf(lines, depth) {
  const parts = nested(lines, depth);
  const [first, ...rest] = parts;
  return first?.tagName === "P" ? [[...first.childNodes], rest] : parts;
}

function rows(lines) {
  const cells = (line) => line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => inline(cell.trim()));
  const head = h("tr", {}, cells(lines[0]).map((cell) => h("th", { scope: "col" }, cell)));
  const body = lines.slice(2).map((line) => h("tr", {}, cells(line).map((cell) => h("td", {}, cell))));
  return h("div", { class: "scroll", tabindex: "0" }, h("table", {}, h("thead", {}, head), h("tbody", {}, body)));
}

/** Lines of a paragraph; two spaces or a backslash at the end of one break it. */
function broken(lines) {
  const parts = lines.map((line, index) => {
    const isLast = index === lines.length - 1;
    const breaks = /( {2,}|\\)$/.test(line);
    return [inline(line.trim().replace(/\\$/, "")), !isLast && (breaks ? h("br") : "\n")];
  });
  return parts;
}

/** Emphasis, code and links of one line. */
function inline(text) {
  const parts = [];
  // A mark whose end was looked for in vain is not looked for again.
  const vain = new Set();
  let plain = "";
  let at = 0;
  while (at < text.length) {
    const found = marked(text, at, vain);
    if (found) {
      parts.push(plain, found.node);
      plain = "";
      at = found.end;
    } else {
      const isEscape = text[at] === "\\" && /[\\`*_[\]#>|-]/.test(text[at + 1] ?? "");
      plain += isEscape ? text[at + 1] : text[at];
      at += isEscape ? 2 : 1;
    }
  }
  return [...parts, plain];
}

function marked(text, at, vain) {
  const char = text[at];
  if (char === "`") return between(text, at, text.slice(at).match(/^`+/)[0], vain, (inner) => h("code", {}, inner.trim()));
  if (char === "[") return link(text, at, vain);
  if (char !== "*" && char !== "_") return null;
  const isStrong = text[at + 1] === char;
  // Within a word or product, as in snake_case or 2*3, a single mark is no emphasis.
  if (!(isStrong && char === "*") && /\w/.test(text[at - 1] ?? "")) return null;
  return between(text, at, isStrong ? char + char : char, vain, (inner) => h(isStrong ? "strong" : "em", {}, inline(inner)));
}

function between(text, at, mark, vain, make) {
  if (vain.has(mark)) return null;
  const begin = at + mark.length;
  const end = text.indexOf(mark, begin);
  if (end < 0) vain.add(mark);
  const inner = text.slice(begin, end);
  const isCode = mark[0] === "`";
  if (end <= begin || (!isCode && (/^\s/.test(inner) || /\s$/.test(inner)))) return null;
  return { node: make(inner), end: end + mark.length };
}

function link(text, at, vain) {
  if (vain.has("[")) return null;
  const middle = text.indexOf("](", at);
  const end = middle < 0 ? -1 : text.indexOf(")", middle);
  if (end < 0) {
    vain.add("[");
    return null;
  }
  const address = text.slice(middle + 2, end).trim();
  if (!/^https?:\/\/[^\s]+$/i.test(address)) return null;
  const label = text.slice(at + 1, middle);
  if (/[[\]]/.test(label)) return null;
  return { node: h("a", { href: address, rel: "noreferrer noopener nofollow", target: "_blank" }, label || address), end: end + 1 };
}

/** Shows a whole text once. */
export function markdown(element, text) {
  new MarkdownView(replace(element)).show(text);
  return element;
}
