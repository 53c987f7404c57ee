// Looks over the page as it is shown and returns what is wrong with it: contrast below WCAG's AA,
// controls without a name or too small to hit, names that two elements have, headings.
const wrong = [];
const isShown = (e) => e.checkVisibility({ visibilityProperty: true }) && e.getClientRects().length > 0;
const told = (e) => `${e.tagName.toLowerCase()}.${e.getAttribute("class") ?? ""} "${(e.textContent || e.id).trim().slice(0, 40)}"`;

const numbersOf = (color) => {
  const [r, g, b, a = 1] = color.match(/[\d.]+/g).map(Number);
  if (!color.startsWith("rgb")) throw new Error(`a color in another form: ${color}`);
  return { rgb: [r, g, b], a };
};
const over = (top, below) => top.rgb.map((part, index) => part * top.a + below[index] * (1 - top.a));
const groundOf = (e) => {
  const layers = [];
  for (let at = e; at; at = at.parentElement) layers.push(numbersOf(getComputedStyle(at).backgroundColor));
  return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
};
const light = (rgb) => {
  const [r, g, b] = rgb.map((part) => part / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const contrast = (a, b) => {
  const [high, low] = [light(a), light(b)].sort((x, y) => y - x);
  return (high + 0.05) / (low + 0.05);
};

const checkText = (e) => {
  const style = getComputedStyle(e);
  const size = parseFloat(style.fontSize);
  const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
  const ground = groundOf(e);
  const color = numbersOf(e.namespaceURI.endsWith("svg") ? style.fill : style.color);
  const found = contrast(over(color, ground), ground);
  if (found < (isLarge ? 3 : 4.5)) wrong.push(`contrast ${found.toFixed(2)}: ${told(e)}`);
};

const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const seen = new Set();
while (texts.nextNode()) {
  const e = texts.currentNode.parentElement;
  const isText = texts.currentNode.data.trim() !== "" && !["SCRIPT", "STYLE", "NOSCRIPT", "OPTION"].includes(e.tagName);
  if (isText && !seen.has(e) && isShown(e) && !e.closest(":disabled, .unseen")) checkText(e);
  seen.add(e);
}

for (const e of document.querySelectorAll("input, select, textarea")) {
  if (!isShown(e)) continue;
  if (!e.labels?.length && !e.getAttribute("aria-label")) wrong.push(`no label: ${told(e)}`);
  if (e.type === "checkbox") continue;
  const edge = contrast(numbersOf(getComputedStyle(e).borderTopColor).rgb, groundOf(e.parentElement));
  if (edge < 3) wrong.push(`edge ${edge.toFixed(2)}: ${told(e)}`);
}
for (const e of document.querySelectorAll("button, a[href], summary")) {
  if (!isShown(e)) continue;
  if (!e.textContent.trim() && !e.getAttribute("aria-label")) wrong.push(`no name: ${told(e)}`);
  const { width, height } = e.getBoundingClientRect();
  if (e.closest(".prose a") === null && Math.min(width, height) < 24) wrong.push(`small: ${told(e)}, ${width} × ${height}`);
}
for (const e of document.querySelectorAll("[role=img]")) {
  if (isShown(e) && !e.getAttribute("aria-label")) wrong.push(`no name: ${told(e)}`);
}
const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) wrong.push(`two have the id ${id}`);
const heads = [...document.querySelectorAll("h1")].filter(isShown);
if (heads.length !== 1) wrong.push(`${heads.length} first headings`);
if (document.documentElement.scrollWidth > innerWidth) wrong.push("the page is wider than the window");
return wrong;
