// Trying a task: one record in, and out come the answer, how sure it is, and how it came about.

import { json } from "./api.js";
import { bar } from "./charts.js";
import { field, h, note, replace } from "./dom.js";
import { explained } from "./explained.js";
import { feedbackForm } from "./feedback.js";
import { number, percent, t, w } from "./words.js";

/** The section. */
export function taskView() {
  const view = new TaskTrial();
  return { element: view.element, onShow: () => view.refresh() };
}

/** A choice of the server's tasks, which calls back with the one that is chosen. */
export class TaskChoice {
  constructor(id, onChoice) {
    this.select = h("select", { class: "input", id, onchange: () => onChoice(this.chosen()) });
    this.element = field(w("task.choose"), this.select);
    this.tasks = [];
    this.onChoice = onChoice;
  }

  /** Asks which tasks there are. Says why there are none, where that is so. */
  async refresh() {
    const before = this.select.value;
    try {
      this.tasks = (await json("v1/tasks")).data;
    } catch (error) {
      return error.isAbsent ? note("", w("task.absent")) : note("bad", error.message);
    }
    if (this.tasks.length === 0) return note("", w("task.none"));
    replace(this.select, this.tasks.map((task) => h("option", { value: task.name }, task.name)));
    if (this.tasks.some((task) => task.name === before)) this.select.value = before;
    else this.onChoice(this.chosen());
    return null;
  }

  chosen() {
    return this.tasks.find((task) => task.name === this.select.value);
  }
}

class TaskTrial {
  constructor() {
    this.choice = new TaskChoice("task", (task) => this.showTask(task));
    this.said = h("div");
    this.about = h("div", { class: "stack" });
    this.fields = h("div", { class: "stack" });
    this.result = h("div", { class: "stack", id: "result", "aria-live": "polite" }, emptyResult());
    this.button = h("button", { class: "button main", type: "submit", id: "try" }, w("task.try"));
    this.form = this.frame();
    this.columns = h("div", { class: "columns", hidden: true }, this.form, this.result);
    this.element = h("div", { class: "page" },
      h("div", { class: "head" }, h("div", {}, h("h1", {}, w("section.task")), h("p", {}, w("task.about")))),
      this.said, this.columns);
  }

  frame() {
    const submit = (event) => {
      event.preventDefault();
      this.run();
    };
    const onkeydown = (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) submit(event);
    };
    return h("form", { class: "card", onsubmit: submit, onkeydown }, this.choice.element, this.about, this.fields,
      h("div", { class: "row" }, this.button, h("span", { class: "muted small" }, w("task.keys"))));
  }

  async refresh() {
    const why = await this.choice.refresh();
    replace(this.said, why);
    this.columns.hidden = why !== null;
  }

  showTask(task) {
    replace(this.about, outline(task));
    this.inputs = task.fields.map(({ name }) => [name, h("textarea", { class: "input", rows: "3", name, required: true })]);
    const titles = task.fields.map(({ name, title }) => title || name);
    replace(this.fields, this.inputs.map(([, input], index) => field(titles[index], input)));
    replace(this.result, emptyResult());
  }

  async run() {
    const task = this.choice.chosen();
    const record = Object.fromEntries(this.inputs.map(([name, input]) => [name, input.value]));
    this.button.disabled = true;
    replace(this.result, h("p", { class: "card muted" }, w("task.running")));
    try {
      const path = `v1/tasks/${encodeURIComponent(task.name)}`;
      const answer = await json(`${path}/run`, { method: "POST", body: { record, explain: true } });
      replace(this.result, answerCard(task, answer, path), explained(task, answer));
    } catch (error) {
      replace(this.result, note("bad", error.message));
    }
    this.button.disabled = false;
  }
}

function emptyResult() {
  return h("div", { class: "card empty" }, h("p", { class: "muted" }, w("task.empty")));
}

function outline(task) {
  const strategy = task.live_strategy === null ? w("task.as_written") : w("task.strategy", { number: task.live_strategy });
  return [
    h("p", { class: "instruction" }, task.instruction),
    h("div", { class: "row" }, task.labels.slice(0, 12).map((label) => h("span", { class: "tag" }, label)),
      task.labels.length > 12 && h("span", { class: "tag" }, `+${task.labels.length - 12}`)),
    h("p", { class: "muted small" }, strategy, " · ",
      () => t("task.taught", { written: number(task.examples_written), examples: number(task.examples), feedback: number(task.feedback) })),
  ];
}

/** The answer, how sure it is, the other labels, and a place to say whether it is right. */
function answerCard(task, answer, path) {
  if (answer.error) return note("bad", answer.error.message);
  const text = typeof answer.answer === "string" ? answer.answer : JSON.stringify(answer.answer, null, 2);
  const isShort = text.length < 60 && !text.includes("\n");
  const shown = answer.withheld
    ? note("warn", () => t("task.withheld", { why: answer.withheld }))
    : h(isShort ? "p" : "pre", { class: isShort ? "answer" : "text" }, text);
  return h("section", { class: "card", "aria-label": w("task.answer") },
    h("h2", {}, w("task.answer")), shown, sureness(answer.confidence),
    answer.labels && labels(answer.labels),
    feedbackForm(task, answer, path));
}

function sureness(confidence) {
  const kind = confidence >= 0.8 ? "good" : confidence >= 0.5 ? "" : "warn";
  return h("div", { class: "measure" }, h("span", {}, w("task.confidence")), bar(confidence, kind), h("strong", { class: "number" }, () => percent(confidence, 1)));
}

function labels(probabilities) {
  const sorted = Object.entries(probabilities).sort(([, a], [, b]) => b - a);
  return h("div", { class: "stack tight" }, h("h3", {}, w("task.labels")),
    sorted.slice(0, 12).map(([name, share]) => h("div", { class: "measure" }, h("span", {}, name), bar(share), h("span", { class: "number" }, () => percent(share, 1)))));
}
