// The language of the page: words by their keys, numbers and times as that language writes them.

import { STRINGS } from "./strings.js";

const LANGUAGES = ["en", "zh-CN"];
let language = document.documentElement.lang === "zh-CN" ? 1 : 0;

/** The words of a key, with values in the places of their names. */
export function t(key, values = {}) {
  const words = STRINGS[key]?.[language] ?? key;
  return words.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

/** The same as a function, for words that follow the language of the page. */
export function w(key, values = {}) {
  const said = () => {
    const now = Object.entries(values).map(([name, value]) => [name, typeof value === "function" ? value() : value]);
    return t(key, Object.fromEntries(now));
  };
  return said;
}

/** Whether there are words of a key. */
export function hasWords(key) {
  return key in STRINGS;
}

/** Changes to the other language. */
export function changeLanguage() {
  language = 1 - language;
  document.documentElement.lang = LANGUAGES[language];
  localStorage.setItem("autoglm.language", LANGUAGES[language]);
}

/** A number with at most so many digits behind the point. */
export function number(value, digits = 0) {
  if (!Number.isFinite(value)) return "–";
  return new Intl.NumberFormat(LANGUAGES[language], { maximumFractionDigits: digits }).format(value);
}

/** A share as a percentage. */
export function percent(value, digits = 0) {
  if (!Number.isFinite(value)) return "–";
  const style = { style: "percent", maximumFractionDigits: digits };
  return new Intl.NumberFormat(LANGUAGES[language], style).format(value);
}

/** A share as a percentage with one digit behind the point, for columns. */
export function tenths(value) {
  if (!Number.isFinite(value)) return "–";
  const style = { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 };
  return new Intl.NumberFormat(LANGUAGES[language], style).format(value);
}

/** A time span, in the unit that suits it. */
export function span(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  if (seconds < 0.001) return `${number(seconds * 1e6)} µs`;
  if (seconds < 1) return `${number(seconds * 1000, seconds < 0.01 ? 1 : 0)} ms`;
  return `${number(seconds, seconds < 10 ? 2 : 1)} s`;
}

/** A point in time. */
export function moment(milliseconds) {
  const style = { dateStyle: "medium", timeStyle: "short" };
  return new Intl.DateTimeFormat(LANGUAGES[language], style).format(new Date(milliseconds));
}
