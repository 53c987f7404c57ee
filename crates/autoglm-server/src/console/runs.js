// Runs and learning: the runs of a task, how good it is by version, whether its confidences can be
// believed, how feedback helps, and the strategies that may go live.

import { json } from "./api.js";
import { intervals, lines } from "./charts.js";
import { h, note, replace, table } from "./dom.js";
import { confirm, tell } from "./overlay.js";
import { followed, recordTable, runList, tile, whole } from "./run_list.js";
import { TaskChoice } from "./task.js";
import { moment, number, percent, span, t, w } from "./words.js";

const FIFTHS = [0, 0.2, 0.4, 0.6, 0.8, 1];

/** The section. */
export function runsView() {
  const said = h("div");
  const report = h("div", { class: "stack", id: "report" });
  const choice = new TaskChoice("runs-task", (task) => show(report, task.name));
  const element = h("div", { class: "page" },
    h("div", { class: "head" }, h("div", {}, h("h1", {}, w("section.runs")), h("p", {}, w("runs.about"))),
      h("div", { class: "row" }, choice.element, h("button", { class: "button", type: "button", onclick: () => { if (choice.chosen()) show(report, choice.chosen().name); } }, w("refresh")))),
    said, report);
  const onShow = async () => {
    const before = choice.chosen();
    const why = await choice.refresh();
    replace(said, why);
    choice.element.hidden = why !== null;
    if (why === null && before === undefined) return;
    if (why === null && choice.chosen()?.name === before.name) show(report, before.name);
  };
  return { element, onShow };
}

async function show(place, name) {
  try {
    const report = await json(`v1/tasks/${encodeURIComponent(name)}/report?format=json`);
    const refresh = () => show(place, name);
    replace(place, newest(report), runList(name), report.groups.map(group), learning(report.learning), confidence(report.newest),
      strategies(report, refresh), records("runs.unsure", report.least_sure, report.run), records("runs.costliest", report.costliest, report.run));
  } catch (error) {
    replace(place, error.isAbsent ? note("", w("runs.absent")) : note("bad", error.message));
  }
}

function card(words, ...parts) {
  return h("section", { class: "card", "aria-label": w(words) }, h("h2", {}, w(words)), ...parts);
}

function newest({ newest: found, live }) {
  if (!found) return note("", w("runs.no_evaluation"));
  const { report } = found;
  const { value, interval } = accuracyOf(report.quality);
  return h("dl", { class: "tiles" },
    tile("runs.accuracy", () => percent(value, 1), () => t("runs.interval", { low: percent(interval[0], 1), high: percent(interval[1], 1) })),
    tile("runs.calibration", () => percent(report.confidence.calibration_error, 1), w("runs.calibration.more")),
    tile("runs.rows", () => number(report.rows), () => t("runs.speed", { rate: number(report.records_per_second, 1) })),
    tile("runs.live", followed(live?.id ?? null), report.model));
}

function accuracyOf(quality) {
  if (quality.kind === "closed") return { value: quality.scores.accuracy, interval: quality.accuracy_interval };
  return { value: quality.same_value, interval: quality.same_value_interval };
}

/** Evaluations on the same records, side by side. */
function group({ source, rows, measure, majority, versions }) {
  const bars = versions.map(({ accuracy, interval }) => ({ at: accuracy, low: interval[0], high: interval[1] }));
  const lowest = Math.min(...bars.map(({ low }) => low), majority?.accuracy ?? 1);
  const from = Math.max(0, Math.floor(lowest * 10) / 10 - 0.1);
  const marks = { x: versions.map((_, index) => index), y: ticks(from) };
  const say = { x: (index) => `#${versions[index].evaluation}`, y: (value) => percent(value) };
  const about = () => t("runs.group", { source, rows: number(rows), measure });
  const cells = versions.map((version) => [`#${version.evaluation}`, whole(() => moment(version.at_ms)), whole(version.model),
    whole(followed(version.strategy)),
    () => number(version.examples), () => number(version.feedback), () => percent(version.accuracy, 1), () => percent(version.calibration_error, 1), () => span(version.seconds)]);
  const heads = ["runs.number", "runs.when", "task.model", "task.followed", "runs.examples", "runs.feedback", "runs.accuracy", "runs.calibration", "runs.took"].map((key) => w(key));
  return h("section", { class: "card", "aria-label": about }, h("h2", {}, w("runs.versions")), h("p", { class: "muted" }, about),
    intervals({ label: about, rows: bars, y: [from, 1], marks, say, line: majority?.accuracy }),
    majority && h("p", { class: "muted small" }, () => t("runs.majority", { label: majority.label, share: percent(majority.accuracy, 1) })),
    table(about, heads, cells, 4));
}

/** Shares from this one to 1, in tenths or fifths. */
function ticks(from) {
  const step = from < 0.5 ? 2 : 1;
  const first = Math.ceil((from * 10) / step);
  return Array.from({ length: 10 / step - first + 1 }, (_, index) => ((first + index) * step) / 10);
}

/** Whether answers are right as often as they say, and how the error falls among the surest. */
function confidence(found) {
  const bins = found?.report.confidence.bins ?? [];
  const curve = found?.report.confidence.curve ?? [];
  if (bins.length === 0 && curve.length === 0) return null;
  const points = bins.map((bin) => [bin.confidence, bin.right / bin.rows]);
  const most = Math.max(0.05, ...curve.map(({ error }) => error));
  const say = { x: (value) => percent(value), y: (value) => percent(value, most < 0.1 ? 1 : 0) };
  return card("runs.confidence", h("div", { class: "columns even" },
    h("figure", { class: "stack tight" }, h("figcaption", { class: "muted small" }, w("runs.reliability")),
      lines({ label: w("runs.reliability"), x: [0, 1], y: [0, 1], marks: { x: FIFTHS, y: FIFTHS }, say: { x: say.x, y: say.x },
        series: [{ kind: "plain-line", points: [[0, 0], [1, 1]] }, { kind: "first-line", points, dots: true }] }),
      numbers(["runs.said", "runs.right", "runs.rows"], bins.map((bin) => [() => percent(bin.confidence, 1), () => percent(bin.right / bin.rows, 1), () => number(bin.rows)]))),
    h("figure", { class: "stack tight" }, h("figcaption", { class: "muted small" }, w("runs.coverage")),
      lines({ label: w("runs.coverage"), x: [0, 1], y: [0, most], marks: { x: FIFTHS, y: FIFTHS.map((part) => part * most) }, say,
        series: [{ kind: "first-line", points: curve.map(({ coverage, error }) => [coverage, error]) }] }),
      numbers(["runs.covered", "runs.error"], curve.map(({ coverage, error }) => [() => percent(coverage), () => percent(error, 1)])))));
}

/** The numbers of a drawing for those who want or need them. */
function numbers(heads, rows) {
  return h("details", {}, h("summary", {}, w("runs.numbers")), table(w("runs.numbers"), heads.map((key) => w(key)), rows, 0));
}

/** How often answers were right before the right one was told, with and without feedback. */
function learning(found) {
  if (!found || found.curve.length === 0) return card("runs.learning", h("p", { class: "muted" }, w("runs.no_feedback")));
  let rows = 0;
  const stretches = found.curve.map((stretch) => {
    rows += stretch.rows;
    return { rows, ours: stretch.right / stretch.rows, before: stretch.right_before / stretch.rows };
  });
  const marks = { x: [0, rows / 2, rows].map(Math.round), y: FIFTHS };
  return card("runs.learning",
    h("p", { class: "muted" }, () => t("runs.learning.more", { rows: number(found.version.rows), share: percent(found.share) })),
    found.suspicious.length > 0 && note("warn", () => t("runs.suspicious", { batches: found.suspicious.map(({ batch }) => batch).join(", ") })),
    found.drift.length > 0 && note("warn", () => t("runs.drift", { before: percent(found.drift.at(-1).before), after: percent(found.drift.at(-1).after) })),
    h("div", { class: "legend", "aria-hidden": "true" }, h("span", {}, h("i"), w("runs.with")), h("span", { class: "second" }, h("i"), w("runs.without"))),
    lines({ label: w("runs.learning"), x: [0, rows], y: [0, 1], marks, say: { x: (value) => number(value), y: (value) => percent(value) }, series: [
      { kind: "second-line", points: stretches.map((stretch) => [stretch.rows, stretch.before]) },
      { kind: "first-line", points: stretches.map((stretch) => [stretch.rows, stretch.ours]), dots: stretches.length < 12 }] }),
    numbers(["runs.rows", "runs.with", "runs.without"], stretches.map((stretch) => [() => number(stretch.rows), () => percent(stretch.ours, 1), () => percent(stretch.before, 1)])));
}

function strategies({ strategies: found, task, live }, refresh) {
  if (found.length === 0) return null;
  const path = `v1/tasks/${encodeURIComponent(task.name)}/strategies`;
  const act = (words, way, values) => h("button", { class: "button small", type: "button", onclick: async () => {
    if (!(await confirm(w(`${words}.title`, values), w(`${words}.text`), w(words)))) return;
    await json(`${path}/${way}`, { method: "POST", body: {} }).then(() => tell(t("models.done")), (error) => tell(error.message));
    refresh();
  } }, w(words));
  const rows = found.map(({ id, state, changes, scores, created_ms: at }) => {
    const paired = scores?.untouched;
    const gain = paired ? () => t("runs.gain", { difference: signed(paired.difference), low: signed(paired.interval[0]), high: signed(paired.interval[1]) }) : "–";
    return [`#${id}`, h("span", { class: `tag ${state === "live" ? "good" : ""}` }, w(`state.${state}`)), whole(() => moment(at)), h("ul", { class: "plain" }, changes.map((change) => h("li", {}, change))), gain,
      state === "live" ? "" : act("runs.promote", `${id}/promote`, { number: id })];
  });
  const heads = ["runs.number", "runs.state", "runs.when", "runs.changes", "runs.untouched", "runs.act"].map((key) => w(key));
  return card("runs.strategies", table(w("runs.strategies"), heads, rows), live && h("div", { class: "row" }, act("runs.rollback", "rollback", {})));
}

function signed(value) {
  return `${value > 0 ? "+" : ""}${percent(value, 1)}`;
}

function records(words, list, run) {
  if (list.length === 0) return null;
  const named = w(words, { number: run.id });
  return h("section", { class: "card", "aria-label": named }, h("h2", {}, named), recordTable(named, list.slice(0, 20)));
}
