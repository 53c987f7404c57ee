// Chat: a conversation with a model, its answers as they come, and how they are asked for.

import { events, request } from "./api.js";
import { settingsPanel } from "./chat_settings.js";
import { h, icon, replace } from "./dom.js";
import { ICONS } from "./icons.js";
import { messageView } from "./message.js";
import { tell } from "./overlay.js";
import { t, w } from "./words.js";

const KEPT = "autoglm.chat";
/** Nearer to the end than so many pixels, the page follows the answer. */
const NEAR = 80;

/** The section. */
export function chatView() {
  const chat = new Chat();
  return {
    element: chat.element,
    onShow: () => chat.settings.refresh(),
    focus: () => chat.box.focus(),
    begin: () => chat.begin(),
    stop: () => chat.stop(),
  };
}

class Chat {
  constructor() {
    this.messages = kept();
    this.views = [];
    this.running = null;
    this.settings = settingsPanel();
    this.log = h("div", { class: "log", role: "log", "aria-label": w("chat.log"), tabindex: "0" });
    this.box = h("textarea", { class: "input", id: "message", rows: "1", "aria-label": w("chat.message"), placeholder: w("chat.placeholder"), onkeydown: (event) => this.onKey(event), oninput: () => this.grow() });
    this.sendButton = h("button", { class: "button main", id: "send", type: "submit" }, icon(ICONS.send), h("span", {}, w("chat.send")));
    this.stopButton = h("button", { class: "button danger", id: "stop", type: "button", hidden: true, onclick: () => this.stop() }, icon(ICONS.stop), h("span", {}, w("chat.stop")));
    this.element = this.frame();
    this.showAll();
  }

  frame() {
    const isWide = matchMedia("(min-width: 72rem)").matches;
    const panel = h("aside", { class: "panel", id: "settings", "aria-label": w("chat.settings"), hidden: !isWide }, this.settings.element);
    const toggle = h("button", { class: "button quiet", id: "show-settings", type: "button", "aria-expanded": String(isWide), "aria-controls": "settings", onclick: () => {
      panel.hidden = !panel.hidden;
      toggle.setAttribute("aria-expanded", String(!panel.hidden));
      if (!panel.hidden) panel.querySelector("select, input").focus();
    } }, icon(ICONS.settings), h("span", {}, w("chat.settings")));
    const begin = h("button", { class: "button quiet", id: "begin", type: "button", onclick: () => this.begin() }, icon(ICONS.add), h("span", {}, w("chat.begin")));
    const submit = (event) => {
      event.preventDefault();
      this.send();
    };
    const form = h("form", { class: "write", onsubmit: submit }, this.box, this.sendButton, this.stopButton);
    const talk = h("div", { class: "talk" }, h("div", { class: "talk-head" }, h("h1", {}, w("section.chat")), h("div", { class: "row push" }, begin, toggle)), this.log, form);
    return h("div", { class: "chat" }, talk, panel);
  }

  onKey(event) {
    // Enter that chooses a word of an input method sends nothing.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    this.send();
  }

  grow() {
    this.box.style.height = "auto";
    this.box.style.height = `${Math.min(this.box.scrollHeight + 2, 220)}px`;
  }

  /** Forgets the conversation. */
  begin() {
    this.stop();
    this.messages = [];
    this.keep();
    this.showAll();
    this.box.focus();
  }

  stop() {
    this.running?.abort();
  }

  send() {
    const content = this.box.value.trim();
    const fields = content && !this.running && this.fields();
    if (!fields) return;
    this.box.value = "";
    this.grow();
    this.add({ role: "user", content });
    this.answer(fields);
  }

  /** Asks for the last answer once more. */
  again() {
    const fields = !this.running && this.fields();
    if (!fields) return;
    while (this.messages.length > 0 && this.messages.at(-1).role === "assistant") this.messages.pop();
    this.showAll();
    this.answer(fields);
  }

  /** Gives what tools returned, and lets the model go on. Says whether that could be done. */
  giveResults(results) {
    const fields = !this.running && this.fields();
    if (!fields) return false;
    for (const result of results) this.add({ role: "tool", tool_call_id: result.id, content: result.content });
    this.answer(fields);
    return true;
  }

  async answer(fields) {
    const body = this.body(fields);
    this.running = new AbortController();
    this.setRunning(true);
    const message = { role: "assistant", content: "", reasoning: "", calls: [], meta: {} };
    const view = this.add(message);
    try {
      await this.receive(body, message, view);
    } catch (error) {
      if (error.name === "AbortError") message.meta.finish = "stopped";
      else message.error = error.message;
    }
    this.running = null;
    this.setRunning(false);
    view.finish();
    this.follow(true);
    this.keep();
  }

  /** What the settings say, or nothing where one is wrong, which is told. */
  fields() {
    try {
      return this.settings.read();
    } catch (error) {
      tell(error.message);
      return null;
    }
  }

  body({ system, ...fields }) {
    const first = system ? [{ role: "system", content: system }] : [];
    const said = this.messages.filter((message) => !message.error).map(sent);
    return { ...fields, messages: [...first, ...said], stream: true, stream_options: { include_usage: true } };
  }

  async receive(body, message, view) {
    const began = performance.now();
    const { signal } = this.running;
    const response = await request("v1/chat/completions", { method: "POST", body, signal });
    message.meta.isRemembered = ["hit", "semantic"].includes(response.headers.get("x-autoglm-cache"));
    for await (const event of events(response)) {
      if (take(message, event)) {
        message.meta.firstMs ??= performance.now() - began;
        view.update();
        this.follow();
      }
    }
    message.meta.wholeMs = performance.now() - began;
  }

  setRunning(isRunning) {
    this.sendButton.hidden = isRunning;
    this.stopButton.hidden = !isRunning;
    // Where the button that was pressed has gone, the other one takes the keyboard over.
    const active = document.activeElement;
    if (active === this.sendButton || active === this.stopButton || active === document.body) this.box.focus();
  }

  add(message) {
    if (this.messages.length === 0) replace(this.log);
    this.messages.push(message);
    return this.show(message);
  }

  show(message) {
    const view = messageView(message, { again: () => this.again(), give: (results) => this.giveResults(results) });
    this.log.append(view.element);
    this.follow(true);
    return view;
  }

  showAll() {
    replace(this.log);
    if (this.messages.length === 0) this.log.append(this.welcome());
    for (const message of this.messages) this.show(message).finish();
  }

  welcome() {
    const ask = (key) => h("button", { class: "idea", type: "button", onclick: () => {
      this.box.value = t(key);
      this.grow();
      this.box.focus();
    } }, w(key));
    return h("div", { class: "welcome" }, h("h2", {}, w("chat.welcome")), h("p", { class: "muted" }, w("chat.welcome.more")),
      h("div", { class: "ideas" }, ["chat.idea.explain", "chat.idea.translate", "chat.idea.code"].map(ask)));
  }

  /** Stays at the end of the conversation where the reader is there. */
  follow(always = false) {
    const distance = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight;
    if (always || distance < NEAR) this.log.scrollTop = this.log.scrollHeight;
  }

  keep() {
    try {
      sessionStorage.setItem(KEPT, JSON.stringify(this.messages));
    } catch {
      // A conversation that is too long for the browser's memory is gone when the page is left.
      sessionStorage.removeItem(KEPT);
    }
  }
}

function kept() {
  try {
    return JSON.parse(sessionStorage.getItem(KEPT)) ?? [];
  } catch {
    return [];
  }
}

/** A message as the protocol has it. */
function sent(message) {
  if (message.role !== "assistant") return message;
  const { content, reasoning, calls } = message;
  const told = { role: "assistant", content };
  if (reasoning) told.reasoning_content = reasoning;
  if (calls.length > 0) {
    told.tool_calls = calls.map(({ id, name, arguments: given }) => ({ id, type: "function", function: { name, arguments: given || "{}" } }));
  }
  return told;
}

/** Adds to a message what an event tells; says whether that is something to show. */
function take(message, event) {
  if (event.model) message.meta.model = event.model;
  if (event.usage) message.meta.usage = event.usage;
  const choice = event.choices?.[0];
  if (!choice) return false;
  const { content, reasoning_content: reasoning, tool_calls: calls = [] } = choice.delta ?? {};
  message.content += content ?? "";
  message.reasoning += reasoning ?? "";
  for (const piece of calls) takeCall(message.calls, piece);
  if (choice.finish_reason) message.meta.finish = choice.finish_reason;
  return Boolean(content || reasoning || calls.length > 0);
}

function takeCall(calls, piece) {
  const call = (calls[piece.index ?? calls.length] ??= { id: "", name: "", arguments: "" });
  call.id ||= piece.id ?? "";
  call.name ||= piece.function?.name ?? "";
  call.arguments += piece.function?.arguments ?? "";
}
