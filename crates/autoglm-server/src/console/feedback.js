// Saying whether an answer is right, and what would have been.

import { json } from "./api.js";
import { h, note, replace } from "./dom.js";
import { number, t, w } from "./words.js";

/** The form below an answer. */
export function feedbackForm(task, answer, path) {
  const place = h("div", { class: "feedback", role: "group", "aria-label": w("feedback.title") });
  const send = async (judgement) => {
    try {
      const body = { run: answer.run, record: answer.record, ...judgement };
      const taken = await json(`${path}/feedback`, { method: "POST", body });
      replace(place, note("good", () => t("feedback.taken", { rows: number(taken.feedback) })));
    } catch (error) {
      replace(place, error.isAbsent ? note("", w("feedback.absent")) : note("bad", error.message));
    }
  };
  const right = h("button", { class: "button", type: "button", onclick: () => send({ good: true }) }, w("feedback.right"));
  const wrong = h("button", { class: "button", type: "button", onclick: () => ask(place, task, answer, send) }, w("feedback.wrong"));
  return replace(place, h("span", { class: "muted" }, w("feedback.title")), right, wrong);
}

/** Asks what is right: one of the other labels, or a text. */
function ask(place, task, answer, send) {
  const others = task.labels.filter((label) => label !== answer.answer);
  const choose = (label) => h("button", { class: "button", type: "button", onclick: () => send({ correct: label }) }, label);
  if (others.length > 0 && others.length <= 8) replace(place, h("span", { class: "muted" }, w("feedback.which")), others.map(choose), unknown(send));
  else replace(place, textForm(others, send));
  place.querySelector("button, input, select").focus();
}

function textForm(labels, send) {
  const input = labels.length > 0
    ? h("select", { class: "input", "aria-label": w("feedback.which") }, labels.map((label) => h("option", {}, label)))
    : h("input", { class: "input", required: true, "aria-label": w("feedback.which") });
  const submit = (event) => {
    event.preventDefault();
    send({ correct: input.value });
  };
  return h("form", { class: "row", onsubmit: submit }, h("span", { class: "muted" }, w("feedback.which")), input,
    h("button", { class: "button", type: "submit" }, w("feedback.send")), unknown(send));
}

function unknown(send) {
  return h("button", { class: "button quiet", type: "button", onclick: () => send({ bad: true }) }, w("feedback.unknown"));
}
