// How answers are asked for: the model, the system's words, chance, length, thinking and tools.

import { json } from "./api.js";
import { field, h, replace } from "./dom.js";
import { t, w } from "./words.js";

const KEPT = "autoglm.settings";
const NUMBERS = [
  ["temperature", "0", "2", "0.1"], ["top_p", "0", "1", "0.05"], ["max_completion_tokens", "1", "", "1"], ["seed", "", "", "1"],
];

/** The panel, what it says, and a way to look for models again. */
export function settingsPanel() {
  const panel = new Settings();
  return { element: panel.element, read: () => panel.read(), refresh: () => panel.refresh() };
}

class Settings {
  constructor() {
    this.model = h("select", { class: "input", id: "model" }, h("option", { value: "" }, w("settings.model.first")));
    this.system = h("textarea", { class: "input", id: "system", rows: "3" });
    this.numbers = NUMBERS.map(([name, min, max, step]) => h("input", { class: "input", id: name, type: "number", min, max, step, inputmode: "decimal", placeholder: w("settings.default") }));
    this.thinking = h("select", { class: "input", id: "thinking" }, ["", "on", "off"].map((value) => h("option", { value }, w(`settings.thinking.${value || "model"}`))));
    this.tools = h("textarea", { class: "input mono", id: "tools", rows: "5", spellcheck: "false", placeholder: '[{"type": "function", "function": {"name": "weather", "parameters": {}}}]' });
    this.controls = [this.model, this.system, ...this.numbers, this.thinking, this.tools];
    this.element = this.frame();
    this.recall();
    this.element.addEventListener("change", () => this.keep());
  }

  frame() {
    const [temperature, topP, most, seed] = NUMBERS.map(([name], index) => field(w(`settings.${name}`), this.numbers[index]));
    return h("div", { class: "stack" },
      field(w("settings.model"), this.model),
      field(w("settings.system"), this.system),
      h("div", { class: "pair" }, temperature, topP),
      h("div", { class: "pair" }, most, seed),
      field(w("settings.thinking"), this.thinking),
      field(w("settings.tools"), this.tools, w("settings.tools.hint")));
  }

  /** Asks which models there are. */
  async refresh() {
    try {
      const { data } = await json("v1/models");
      const names = data.filter((model) => model.capability !== "embed").map((model) => model.id);
      const chosen = this.model.value || this.wanted;
      const options = names.map((id) => h("option", { value: id }, id));
      replace(this.model, h("option", { value: "" }, w("settings.model.first")), options);
      this.model.value = names.includes(chosen) ? chosen : "";
    } catch {
      // Without a list the server's first model answers, and says so if it cannot.
    }
  }

  /** The fields of a request; those that are left empty are the server's to choose. */
  read() {
    const fields = {};
    if (this.model.value) fields.model = this.model.value;
    NUMBERS.forEach(([name], index) => {
      const input = this.numbers[index];
      input.setAttribute("aria-invalid", String(!input.checkValidity()));
      if (!input.checkValidity()) throw new Error(t("settings.wrong", { name: t(`settings.${name}`), why: input.validationMessage }));
      if (input.value !== "") fields[name] = Number(input.value);
    });
    if (this.thinking.value) fields.chat_template_kwargs = { enable_thinking: this.thinking.value === "on" };
    if (this.tools.value.trim()) fields.tools = this.readTools();
    fields.system = this.system.value.trim();
    return fields;
  }

  readTools() {
    try {
      const tools = JSON.parse(this.tools.value);
      if (!Array.isArray(tools)) throw new Error(t("settings.tools.list"));
      this.tools.setAttribute("aria-invalid", "false");
      return tools;
    } catch (error) {
      this.tools.setAttribute("aria-invalid", "true");
      throw new Error(t("settings.wrong", { name: t("settings.tools"), why: error.message }));
    }
  }

  keep() {
    const values = Object.fromEntries(this.controls.map((control) => [control.id, control.value]));
    sessionStorage.setItem(KEPT, JSON.stringify(values));
  }

  recall() {
    const values = JSON.parse(sessionStorage.getItem(KEPT) ?? "{}");
    for (const control of this.controls) control.value = values[control.id] ?? "";
    this.wanted = values.model ?? "";
  }
}
