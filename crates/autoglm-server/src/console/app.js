// The page: its sections, its switches and its keys.

import { json, onKeyNeeded } from "./api.js";
import { chatView } from "./chat.js";
import { h, icon, replace, s, sayAgain } from "./dom.js";
import { ICONS } from "./icons.js";
import { metricsView } from "./metrics.js";
import { modelsView } from "./models.js";
import { askForKey, open, toastPlace } from "./overlay.js";
import { runsView } from "./runs.js";
import { taskView } from "./task.js";
import { changeLanguage, t, w } from "./words.js";

/** A view is an element, and may want to know when it is shown and hidden. */
const VIEWS = { chat: chatView(), task: taskView(), runs: runsView(), models: modelsView(), metrics: metricsView() };
const NAMES = Object.keys(VIEWS);
const STATUS_MS = 10_000;

const dark = matchMedia("(prefers-color-scheme: dark)");
const status = h("div", { class: "status", role: "status" }, h("span"));
const links = Object.fromEntries(NAMES.map((name) => [name, h("a", { href: `#${name}` }, icon(ICONS[name]), h("span", {}, w(`section.${name}`)))]));
const main = h("main", { id: "main", tabindex: "-1" }, NAMES.map((name) => h("div", { class: "view", id: `view-${name}`, hidden: true }, VIEWS[name].element)));
let shown = null;

function start() {
  document.body.append(skipLink(), side(), main, toastPlace());
  onKeyNeeded(askForKey);
  addEventListener("hashchange", route);
  addEventListener("keydown", onKey);
  dark.addEventListener("change", () => sayAgain(document.body));
  route();
  watchServer();
}

function skipLink() {
  const skip = (event) => {
    event.preventDefault();
    main.focus();
  };
  return h("a", { class: "skip", href: "#main", onclick: skip }, w("skip"));
}

function side() {
  const brand = h("div", { class: "brand" }, logo(), h("span", {}, "AutoGLM"));
  const nav = h("nav", { "aria-label": w("sections") }, h("ul", { class: "sections" }, NAMES.map((name) => h("li", {}, links[name]))));
  return h("header", { class: "side" }, brand, nav, h("div", { class: "foot" }, status, switches()));
}

function logo() {
  return s("svg", { viewBox: "0 0 32 32", "aria-hidden": "true" },
    s("rect", { width: 32, height: 32, rx: 8, fill: "#0f6b5c" }),
    s("path", { d: "M8 21.5 13.2 9h1.9l5.2 12.5M9.9 17.2h8.5", fill: "none", stroke: "#fff", "stroke-width": 2.4, "stroke-linecap": "round", "stroke-linejoin": "round" }),
    s("circle", { cx: 23.6, cy: 20.6, r: 2.1, fill: "#7fe3cd" }));
}

function switches() {
  const button = (id, words, content, onclick) => h("button", { id, type: "button", "aria-label": words, title: words, onclick }, content);
  const themes = () => (isDark() ? t("theme.light") : t("theme.dark"));
  return h("div", { class: "switches" },
    button("switch-language", w("language.switch"), w("language.other"), switchLanguage),
    button("switch-theme", themes, icon(() => (isDark() ? ICONS.light : ICONS.dark)), switchTheme),
    button("give-key", w("key.title"), icon(ICONS.key), () => askForKey(false)),
    button("show-help", w("help.title"), icon(ICONS.help), showHelp));
}

function isDark() {
  return (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
}

function switchTheme() {
  const theme = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  localStorage.setItem("autoglm.theme", theme);
  sayAgain(document.body);
}

function switchLanguage() {
  changeLanguage();
  sayAgain(document.body);
  document.title = title();
}

function title() {
  return `${t(`section.${shown}`)} · AutoGLM`;
}

/** Shows the section that the address names. */
function route() {
  const asked = location.hash.slice(1);
  const name = NAMES.includes(asked) ? asked : "chat";
  if (name === shown) return;
  if (shown) VIEWS[shown].onHide?.();
  shown = name;
  for (const other of NAMES) {
    document.getElementById(`view-${other}`).hidden = other !== name;
    if (other === name) links[other].setAttribute("aria-current", "page");
    else links[other].removeAttribute("aria-current");
  }
  document.title = title();
  VIEWS[name].onShow?.();
}

/** Says whether the server is there, now and from time to time. */
async function watchServer() {
  let state = "ready";
  try {
    await json("health/ready");
  } catch (error) {
    state = error.status === 0 ? "away" : "stopping";
  }
  if (status.dataset.state !== state) {
    status.dataset.state = state;
    replace(status, h("span", {}, w(`status.${state}`)));
  }
  setTimeout(watchServer, STATUS_MS);
}

/** What single keys do where no text is being written. */
const KEYS = {
  "?": showHelp,
  t: switchTheme,
  l: switchLanguage,
  "/": () => {
    location.hash = "chat";
    route();
    VIEWS.chat.focus();
  },
  n: () => {
    location.hash = "chat";
    route();
    VIEWS.chat.begin();
  },
  ...Object.fromEntries(NAMES.map((name, index) => [String(index + 1), () => {
    location.hash = name;
    route();
    main.focus();
  }])),
};

function hasKeys() {
  return localStorage.getItem("autoglm.keys") !== "off";
}

function onKey(event) {
  if (event.key === "Escape" && !document.querySelector("dialog[open]")) VIEWS.chat.stop();
  const isWriting = event.target.closest?.("input, textarea, select, [contenteditable]");
  const isOther = event.ctrlKey || event.metaKey || event.altKey || event.isComposing;
  if (isWriting || isOther || !hasKeys() || document.querySelector("dialog[open]")) return;
  const act = KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act();
}

function showHelp() {
  const lines = [
    ["1 – 5", "help.sections"], ["/", "help.write"], ["Enter", "help.send"], ["Shift Enter", "help.line"],
    ["Esc", "help.stop"], ["n", "help.begin"], ["t", "help.theme"], ["l", "help.language"], ["?", "help.help"],
  ];
  const keys = (text) => text.split(" ").map((key) => (key === "–" ? " – " : [h("kbd", {}, key), " "]));
  const onchange = (event) => localStorage.setItem("autoglm.keys", event.target.checked ? "on" : "off");
  return open(w("help.title"), (close) => [
    h("dl", { class: "keys" }, lines.map(([key, words]) => [h("dt", {}, keys(key)), h("dd", {}, w(words))])),
    h("label", { class: "check" }, h("input", { type: "checkbox", checked: hasKeys(), onchange }), h("span", {}, w("help.single"))),
    h("div", { class: "actions" }, h("button", { class: "button main", type: "button", autofocus: true, onclick: () => close() }, w("close"))),
  ]);
}

start();
