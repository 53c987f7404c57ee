// One message of a conversation: who speaks, what was thought, the text, calls of tools, and what
// the answer cost.

import { field, h, note, replace } from "./dom.js";
import { MarkdownView } from "./markdown.js";
import { tell } from "./overlay.js";
import { hasWords, number, span, t, w } from "./words.js";

/** Shows a message. `act` has `again` and `give`. */
export function messageView(message, act) {
  return message.role === "assistant" ? new Answer(message, act) : new Said(message);
}

/** What a user or a tool said: text as it is. */
class Said {
  constructor(message) {
    this.element = h("article", { class: `message ${message.role}` }, h("h2", { class: "who" }, w(`role.${message.role}`)), h("div", { class: "said" }, message.content));
  }

  finish() {}
}

class Answer {
  constructor(message, act) {
    this.message = message;
    this.act = act;
    this.isWaiting = false;
    this.isFinished = false;
    this.thought = h("div", { class: "thought" });
    this.thinking = h("details", { class: "thinking", hidden: true }, h("summary", {}, w("chat.thinking")), this.thought);
    this.text = h("div", { class: "prose" });
    this.calls = h("div", { class: "calls" });
    this.foot = h("div", { class: "cost" }, h("span", { class: "typing" }, w("chat.answering")));
    this.element = h("article", { class: "message assistant", "aria-busy": "true" }, h("h2", { class: "who" }, w("role.assistant")), this.thinking, this.text, this.calls, this.foot);
    this.markdown = new MarkdownView(this.text);
    this.thoughts = new MarkdownView(this.thought);
  }

  /** Shows what has come, once a frame. */
  update() {
    if (this.isWaiting) return;
    this.isWaiting = true;
    requestAnimationFrame(() => {
      this.isWaiting = false;
      if (!this.isFinished) this.draw();
    });
  }

  draw() {
    const { content, reasoning, calls } = this.message;
    this.thinking.hidden = !reasoning;
    // Thoughts are open while nothing else has come.
    if (this.element.getAttribute("aria-busy") === "true") this.thinking.open = !content;
    this.thoughts.show(reasoning);
    this.markdown.show(content);
    if (this.calls.childElementCount !== calls.length) replace(this.calls, calls.map(callView));
  }

  /** Shows the whole message, with what it cost and what can be done with it. */
  finish() {
    this.isFinished = true;
    this.draw();
    this.element.setAttribute("aria-busy", "false");
    if (this.thinking.open) this.thinking.open = !this.message.content;
    const { error, calls } = this.message;
    replace(this.calls, calls.map(callView), calls.length > 0 && !error && resultsForm(calls, this.act.give));
    replace(this.foot, error && note("bad", error), this.facts(), this.buttons());
  }

  facts() {
    const { meta } = this.message;
    const { usage } = meta;
    const tokens = usage?.completion_tokens;
    const decodeSeconds = (meta.wholeMs - meta.firstMs) / 1000;
    const rate = tokens > 1 && decodeSeconds > 0 ? (tokens - 1) / decodeSeconds : NaN;
    const finish = meta.finish && meta.finish !== "stop" && `finish.${meta.finish}`;
    const parts = [
      meta.model,
      usage && (() => t("chat.tokens", { prompt: number(usage.prompt_tokens), answer: number(tokens) })),
      meta.firstMs !== undefined && (() => t("chat.first", { time: span(meta.firstMs / 1000) })),
      Number.isFinite(rate) && !meta.isRemembered && (() => t("chat.rate", { rate: number(rate, 1) })),
      meta.isRemembered && w("chat.remembered"),
      finish && (hasWords(finish) ? w(finish) : meta.finish),
    ];
    return parts.filter(Boolean).map((part) => h("span", { class: "number" }, part));
  }

  buttons() {
    const copy = async () => {
      await navigator.clipboard.writeText(this.message.content);
      tell(t("chat.copied"));
    };
    return h("span", { class: "buttons" },
      // Browsers have no clipboard for pages that come over plain HTTP from another machine.
      this.message.content && navigator.clipboard && h("button", { class: "button quiet", type: "button", onclick: copy }, w("chat.copy")),
      h("button", { class: "button quiet again", type: "button", onclick: () => this.act.again() }, w("chat.again")));
  }
}

function callView(call) {
  return h("div", { class: "call" },
    h("div", { class: "row" }, h("span", { class: "tag accent" }, w("chat.call")), h("code", {}, call.name)),
    h("pre", { class: "text" }, pretty(call.arguments)));
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

/** Where the user plays the tools' part. */
function resultsForm(calls, give) {
  const inputs = calls.map(() => h("textarea", { class: "input", rows: "2" }));
  const submit = (event) => {
    event.preventDefault();
    form.hidden = give(calls.map((call, index) => ({ id: call.id, content: inputs[index].value })));
  };
  const form = h("form", { class: "stack", onsubmit: submit },
    calls.map((call, index) => field(w("chat.result", { name: call.name }), inputs[index])),
    h("div", { class: "row" }, h("button", { class: "button", type: "submit" }, w("chat.give"))));
  return form;
}
