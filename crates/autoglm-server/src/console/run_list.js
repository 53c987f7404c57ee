// The runs of a task: when each was, what it followed and came to, and one opened with its records.

import { json } from "./api.js";
import { h, note, replace, table } from "./dom.js";
import { moment, number, percent, span, t, tenths, w } from "./words.js";

/** Runs that are listed at first, and that are added at a time. */
const STEP = 10;
/** Runs that the server lists at most. */
const MOST = 1000;
/** Records that are shown at a time. */
const PAGE = 25;

/** The list of a task's runs, with a place for one that is opened. */
export function runList(name) {
  const list = new RunList(`v1/tasks/${encodeURIComponent(name)}/runs`);
  list.show();
  return list.element;
}

/** A number with its name, and a line below it. */
export function tile(words, value, under) {
  return h("div", { class: "tile" }, h("dt", {}, w(words)), h("dd", {}, value, under && h("div", { class: "under" }, under)));
}

/** Words that stay on one line. */
export function whole(text) {
  return h("span", { class: "whole" }, text);
}

/** What a run followed: a strategy, or the task as it is written. */
export function followed(strategy, isAsWritten = strategy === null) {
  if (isAsWritten) return w("task.as_written");
  return strategy === null ? w("runs.unknown_strategy") : w("task.strategy", { number: strategy });
}

/** Records with what became of them. */
export function recordTable(caption, list) {
  const rows = list.map(({ index, input, answer, confidence: sure, gold, is_right: isRight, error, usage }) => [
    `#${index}`, h("div", { class: "texts" }, input.map(([, value]) => value).join(" · ")), answer ?? h("span", { class: "tag bad" }, error ?? "–"),
    gold ?? "–", isRight === null ? "–" : h("span", { class: `tag ${isRight ? "good" : "bad"}` }, w(isRight ? "runs.is_right" : "runs.is_wrong")),
    () => tenths(sure ?? NaN), () => number(computed(usage))]);
  const heads = ["runs.number", "runs.input", "task.answer", "runs.gold", "runs.right", "task.confidence", "runs.computed"].map((key) => w(key));
  return table(caption, heads, rows, 5);
}

/** Tokens that the model computed. */
function computed(usage) {
  return usage ? usage.prompt_tokens - usage.cached_tokens + usage.completion_tokens : NaN;
}

/** How long the model computed, in seconds. */
function seconds(usage) {
  return usage ? usage.compute.secs + usage.compute.nanos / 1e9 : NaN;
}

class RunList {
  constructor(path) {
    this.path = path;
    this.limit = STEP;
    // Answers to what was asked before the last question are too late.
    this.asked = 0;
    this.list = h("div", { class: "stack" });
    this.opened = h("div");
    const card = h("section", { class: "card", "aria-label": w("runs.list") }, h("h2", {}, w("runs.list")), this.list);
    this.element = h("div", { class: "stack", id: "run-list" }, card, this.opened);
  }

  async show() {
    try {
      const { data, total } = await json(`${this.path}?limit=${this.limit}`);
      replace(this.list, data.length === 0 ? h("p", { class: "muted" }, w("runs.none")) : [this.table(data), this.more(data.length, total)]);
    } catch (error) {
      replace(this.list, error.isAbsent ? note("", w("runs.absent")) : note("bad", error.message));
    }
  }

  table(runs) {
    const rows = runs.map((run) => [
      h("button", { class: "button small", type: "button", id: `run-${run.id}`, "aria-label": w("runs.open", { number: run.id }), onclick: () => this.open(run.id) }, `#${run.id}`),
      h("div", {}, whole(() => moment(run.created_ms)), run.status !== "finished" && h("div", {}, h("span", { class: `tag ${run.status === "failed" ? "bad" : "warn"}` }, w(`run.${run.status}`)))),
      h("div", {}, run.source, h("div", { class: "muted small" }, run.model)),
      whole(followed(run.strategy, run.as_written)),
      h("div", {}, () => number(run.records), run.errors > 0 && h("div", { class: "muted small" }, () => t("runs.errors", { count: number(run.errors) }))),
      score(run.score), () => tenths(run.mean_confidence ?? NaN), h("div", {}, () => number(computed(run.usage)), h("div", { class: "muted small" }, () => span(seconds(run.usage))))]);
    const heads = ["runs.number", "runs.when", "runs.source", "task.followed", "runs.records", "runs.accuracy", "runs.mean", "runs.cost"].map((key) => w(key));
    return table(w("runs.list"), heads, rows, 4);
  }

  more(shown, total) {
    const add = async () => {
      this.limit = Math.min(MOST, this.limit + STEP);
      await this.show();
      // The button is another one now: the keyboard goes on at the first new run.
      this.list.querySelectorAll("button[id^=run-]")[shown]?.focus();
    };
    const isAll = shown >= total || this.limit >= MOST;
    return h("div", { class: "row" }, h("span", { class: "muted small" }, () => t("runs.shown", { shown: number(shown), total: number(total) })),
      !isAll && h("button", { class: "button small", type: "button", onclick: add }, w("runs.more")));
  }

  /** Opens a run at one of its records; the keyboard goes to what has opened. */
  async open(id, first = 0) {
    const asked = ++this.asked;
    try {
      const run = await json(`${this.path}/${id}?first=${first}&limit=${PAGE}`);
      if (asked !== this.asked) return;
      const head = h("h2", { tabindex: "-1" }, w("runs.opened", { number: id }));
      replace(this.opened, this.card(run, head, first));
      head.focus();
    } catch (error) {
      if (asked === this.asked) replace(this.opened, note("bad", error.message));
    }
  }

  close(id) {
    this.asked += 1;
    replace(this.opened);
    document.getElementById(`run-${id}`)?.focus();
  }

  card(run, head, first) {
    const { usage, score: found } = run;
    const onkeydown = (event) => { if (event.key === "Escape") this.close(run.id); };
    return h("section", { class: "card", id: "opened-run", "aria-label": w("runs.opened", { number: run.id }), onkeydown },
      h("header", {}, head, h("span", { class: "muted small" }, () => `${run.source} · ${moment(run.created_ms)} · ${t(`run.${run.status}`)}`),
        h("div", { class: "row push" }, h("button", { class: "button", type: "button", onclick: () => this.close(run.id) }, w("close")))),
      h("dl", { class: "tiles wide" },
        tile("task.followed", followed(run.strategy, run.as_written), run.model),
        tile("runs.records", () => number(run.records), () => t("runs.errors", { count: number(run.errors) })),
        found && tile("runs.accuracy", () => percent(found.value, 1), () => t("runs.interval", { low: percent(found.interval[0], 1), high: percent(found.interval[1], 1) })),
        tile("runs.mean", () => percent(run.mean_confidence ?? NaN, 1)),
        tile("runs.tokens", () => number(usage.prompt_tokens + usage.completion_tokens), () => t("runs.cached", { share: percent(usage.cached_tokens / (usage.prompt_tokens || 1)) })),
        tile("runs.compute", () => span(seconds(usage)))),
      run.data.length > 0 && recordTable(w("runs.of", { number: run.id }), run.data),
      this.pages(run, first));
  }

  pages(run, first) {
    const last = first + run.data.length;
    const go = (words, to, isOff) => h("button", { class: "button small", type: "button", disabled: isOff, onclick: () => this.open(run.id, to) }, w(words));
    return h("div", { class: "row" },
      h("span", { class: "muted small" }, () => t("runs.page", { first: number(run.data.length && first), last: number(last - 1), total: number(run.records) })),
      go("runs.earlier", Math.max(0, first - PAGE), first === 0), go("runs.later", last, !run.has_more));
  }
}

/** How many were right, and of what where it is no label. */
function score(found) {
  if (!found) return "–";
  return h("div", {}, () => tenths(found.value), found.measure !== "accuracy" && h("div", { class: "muted small" }, found.measure));
}
