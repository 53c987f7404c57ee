// Live metrics: what the server does now, and how that went over the last minutes.

import { request } from "./api.js";
import { sparkline } from "./charts.js";
import { h, note, replace, table } from "./dom.js";
import { quantile, samplesOf, sum } from "./prometheus.js";
import { number, percent, span, w } from "./words.js";

const PERIOD_MS = 2000;
/** Readings that are kept: five minutes of them. */
const KEPT = 150;
/** Curves begin as narrow as this many readings: one minute. */
const FEWEST = 30;
/** Rates and quantiles are over the last ten seconds. */
const WINDOW = 5;

/** How a number is read off the newest reading and the one some seconds before. */
const gauge = (name) => (now) => sum(now.samples, name);
const rate = (name) => (now, before) => (sum(now.samples, name) - sum(before.samples, name)) / (now.at - before.at);
const share = (hits, all) => (now, before) => {
  const total = sum(now.samples, all) - sum(before.samples, all);
  return (sum(now.samples, hits) - sum(before.samples, hits)) / total;
};
const cacheShare = (now, before) => {
  const added = (name) => sum(now.samples, name) - sum(before.samples, name);
  const hits = added("autoglm_response_cache_hits_total");
  return hits / (hits + added("autoglm_response_cache_misses_total"));
};
const time = (name, part) => (now, before) => quantile(now.samples, before.samples, name, part);

const TILES = [
  ["running", gauge("vllm:num_requests_running"), (value) => number(value)],
  ["waiting", gauge("vllm:num_requests_waiting"), (value) => number(value)],
  ["answers", rate("vllm:request_success_total"), (value) => number(value, 2), "unit.each_second"],
  ["written", rate("vllm:generation_tokens_total"), (value) => number(value, 1), "unit.tokens_second"],
  ["read", rate("vllm:prompt_tokens_total"), (value) => number(value, 1), "unit.tokens_second"],
  ["first", time("vllm:time_to_first_token_seconds", 0.5), span],
  ["first99", time("vllm:time_to_first_token_seconds", 0.99), span],
  ["between", time("vllm:inter_token_latency_seconds", 0.5), span],
  ["whole", time("vllm:e2e_request_latency_seconds", 0.5), span],
  ["prefix", share("vllm:prefix_cache_hits_total", "vllm:prefix_cache_queries_total"), (value) => percent(value, 1)],
  ["cache", cacheShare, (value) => percent(value, 1)],
  ["kv", gauge("vllm:kv_cache_usage_perc"), (value) => percent(value, 1)],
  ["refused", rate("autoglm_requests_refused_total"), (value) => number(value, 2), "unit.each_second"],
  ["connections", gauge("autoglm_connections_open"), (value) => number(value)],
];

/** The section. */
export function metricsView() {
  const view = new Metrics();
  return { element: view.element, onShow: () => view.start(), onHide: () => view.pause() };
}

class Metrics {
  constructor() {
    this.readings = [];
    this.values = new Map(TILES.map(([name]) => [name, []]));
    this.timer = 0;
    this.isOn = true;
    this.said = h("div");
    this.tiles = h("dl", { class: "tiles", id: "tiles" });
    this.all = h("details", { class: "card" }, h("summary", {}, w("metrics.all")), h("div"));
    this.toggle = h("button", { class: "button", type: "button", "aria-pressed": "false", onclick: () => this.switch() }, w("metrics.pause"));
    this.element = h("div", { class: "page" },
      h("div", { class: "head" }, h("div", {}, h("h1", {}, w("section.metrics")), h("p", {}, w("metrics.about"))), this.toggle),
      this.said, this.tiles, this.all);
    this.all.addEventListener("toggle", () => this.showAll());
    this.tiles.hidden = true;
    this.all.hidden = true;
  }

  start() {
    clearTimeout(this.timer);
    if (this.isOn) this.read();
  }

  pause() {
    clearTimeout(this.timer);
  }

  switch() {
    this.isOn = !this.isOn;
    this.toggle.setAttribute("aria-pressed", String(!this.isOn));
    if (this.isOn) this.start();
    else this.pause();
  }

  async read() {
    try {
      const response = await request("metrics");
      this.take(samplesOf(await response.text()));
      replace(this.said);
    } catch (error) {
      replace(this.said, error.isAbsent ? note("", w("metrics.absent")) : note("bad", error.message));
      if (error.isAbsent) return;
    }
    if (this.isOn && this.element.isConnected && !this.element.closest("[hidden]")) this.timer = setTimeout(() => this.read(), PERIOD_MS);
  }

  take(samples) {
    this.readings.push({ at: performance.now() / 1000, samples });
    if (this.readings.length > KEPT) this.readings.shift();
    const now = this.readings.at(-1);
    const before = this.readings.at(-1 - WINDOW) ?? this.readings[0];
    for (const [name, read] of TILES) {
      const values = this.values.get(name);
      values.push(read(now, before));
      if (values.length > KEPT) values.shift();
    }
    this.draw();
  }

  draw() {
    this.tiles.hidden = false;
    this.all.hidden = false;
    const known = TILES.filter(([name, , , ]) => this.values.get(name).some(Number.isFinite));
    replace(this.tiles, known.map(([name, , say, unit]) => tile(name, this.values.get(name), say, unit)));
    this.showAll();
  }

  showAll() {
    // A table in which the keyboard stands is left as it is.
    if (!this.all.open || this.readings.length === 0 || this.all.lastChild.contains(document.activeElement)) return;
    const { samples } = this.readings.at(-1);
    const rows = [...samples].filter(([name]) => !name.endsWith("_bucket")).flatMap(([name, list]) => list.map(({ labels, value }) => [h("code", {}, name), labelText(labels), () => number(value, 3)]));
    replace(this.all.lastChild, table(w("metrics.all"), [w("metrics.name"), w("metrics.labels"), w("metrics.value")], rows, 2));
  }
}

function tile(name, values, say, unit) {
  const last = values.at(-1);
  return h("div", { class: "tile" },
    h("dt", {}, w(`metrics.${name}`)),
    h("dd", {}, () => say(last), unit && Number.isFinite(last) && h("span", { class: "unit" }, w(unit)),
      sparkline(curveOf(values), Math.max(FEWEST, values.length))));
}

/** From the first reading that says something; later ones without a value count as nothing. */
function curveOf(values) {
  const known = values.slice(Math.max(0, values.findIndex(Number.isFinite)));
  return known.map((value) => (Number.isFinite(value) ? value : 0));
}

function labelText(labels) {
  return Object.entries(labels).map(([name, value]) => `${name}=${value}`).join(", ");
}
