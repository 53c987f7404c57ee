// How an answer of a task came about: the time of each stage, what determined it, the samples, the
// examples of its prompt, and the prompt itself.

import { bar } from "./charts.js";
import { facts, h, table } from "./dom.js";
import { hasWords, number, percent, span, t, w } from "./words.js";

const STAGES = ["compose", "model", "judge", "feedback", "record"];

/** All cards on an answer. */
export function explained(task, answer) {
  return [stages(answer), samples(answer), examples(task, answer), prompt(answer)];
}

function stages(answer) {
  const times = answer.time_ms ?? {};
  const whole = STAGES.reduce((sum, name) => sum + (times[name] ?? 0), 0);
  const one = (name) => h("div", { class: "measure" }, h("span", {}, w(`stage.${name}`)), bar(whole > 0 ? times[name] / whole : 0), h("span", { class: "number" }, () => span(times[name] / 1000)));
  return h("section", { class: "card", "aria-label": w("task.how") },
    h("h2", {}, w("task.how")),
    h("div", { class: "stack tight" }, STAGES.filter((name) => times[name] !== undefined).map(one)),
    facts(howFacts(answer)));
}

function howFacts({ how, usage, run, record }) {
  const tokens = usage && (() => t("task.tokens", { prompt: number(usage.prompt_tokens), cached: number(usage.prompt_tokens_details.cached_tokens), answer: number(usage.completion_tokens) }));
  if (!how) return [[w("task.usage"), tokens]];
  const calibration = `calibration.${how.calibration}`;
  return [
    [w("task.model"), h("span", { class: "mono" }, how.model)],
    [w("task.followed"), how.strategy === null ? w("task.as_written") : w("task.strategy", { number: how.strategy })],
    [w("task.calibration"), hasWords(calibration) ? w(calibration, { records: () => number(how.calibration_records) }) : how.calibration],
    [w("task.judge"), how.taught_by && (() => t("task.taught_by", { records: number(how.taught_by) }))],
    [w("task.learnt"), how.feedback && learnt(how.feedback)],
    [w("task.usage"), tokens],
    [w("task.kept"), () => t("task.row", { run, record })],
  ].filter(([, value]) => value);
}

function learnt({ rows, labels_before: before }) {
  const best = Object.entries(before).sort(([, a], [, b]) => b - a)[0];
  return () => t("task.learnt.from", { rows: number(rows), label: best?.[0] ?? "", share: percent(best?.[1] ?? NaN, 1) });
}

function samples({ samples: vote, explain }) {
  const texts = explain?.texts ?? [];
  if (!vote && texts.length === 0) return null;
  return h("section", { class: "card", "aria-label": w("task.samples") },
    h("h2", {}, w("task.samples")),
    vote && h("p", { class: "muted" }, () => t("task.vote", { agreed: number(vote.agreed), taken: number(vote.taken) }), " ", w(`stopped.${vote.stopped}`)),
    vote && h("div", { class: "stack tight" }, vote.alternatives.map(({ answer, share }) => h("div", { class: "measure" }, h("span", {}, answer), bar(share), h("span", { class: "number" }, () => percent(share))))),
    texts.length > 0 && h("details", {}, h("summary", {}, () => t("task.texts", { count: number(texts.length) })), h("div", { class: "stack tight" }, texts.map((text) => h("pre", { class: "text" }, text)))));
}

function examples(task, { examples: chosen = [] }) {
  if (chosen.length === 0) return null;
  const names = task.fields.map(({ name }) => name);
  const heads = [...task.fields.map(({ name, title }) => title || name), w("task.answer")];
  const rows = chosen.map(({ record, answer }) => [...names.map((name) => shown(record[name])), h("strong", {}, answer)]);
  return h("section", { class: "card", "aria-label": w("task.examples") }, h("h2", {}, w("task.examples")), table(w("task.examples"), heads, rows));
}

function prompt({ explain }) {
  if (!explain?.prompt) return null;
  const scores = Object.entries(explain.logprobs ?? {});
  return h("section", { class: "card", "aria-label": w("task.prompt") },
    h("h2", {}, w("task.prompt")),
    h("pre", { class: "text", tabindex: "0", id: "prompt" }, explain.prompt),
    scores.length > 0 && table(w("task.scores"), [w("task.label"), w("task.logprob")], scores.map(([label, value]) => [label, () => number(value, 3)]), 1));
}

function shown(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}
