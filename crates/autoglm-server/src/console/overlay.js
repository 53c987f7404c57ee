// What stands above the page: dialogs, the short message at its foot, and the question for a key.

import { hasKey, setKey } from "./api.js";
import { field, h, note } from "./dom.js";
import { w } from "./words.js";

const TOAST_MS = 4000;
const toast = h("div", { class: "toast", role: "status" });
let fading = 0;

/** The place of the short message. */
export function toastPlace() {
  return toast;
}

/** Shows a short message for some seconds, and has it read out. */
export function tell(text) {
  toast.textContent = text;
  clearTimeout(fading);
  fading = setTimeout(() => { toast.textContent = ""; }, TOAST_MS);
}

/**
 * Opens a dialog and returns what it is closed with. `make` is given a function that closes it, and
 * makes its parts; without a choice the result is undefined.
 */
export function open(title, make) {
  const heading = h("h2", { id: "dialog-title" }, title);
  const dialog = h("dialog", { "aria-labelledby": "dialog-title" });
  return new Promise((resolve) => {
    let result;
    const close = (value) => {
      result = value;
      dialog.close();
    };
    dialog.append(h("div", { class: "dialog" }, heading, make(close)));
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(result);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Asks whether something is really to be done. */
export async function confirm(title, text, action) {
  const answer = await open(title, (close) => [
    h("p", {}, text),
    h("div", { class: "actions" },
      h("button", { class: "button", type: "button", onclick: () => close(false) }, w("cancel")),
      h("button", { class: "button main", type: "button", autofocus: true, onclick: () => close(true) }, action)),
  ]);
  return answer === true;
}

/** Asks for the API key; says whether one was given. */
export async function askForKey(wasRefused) {
  const input = h("input", { class: "input", type: "password", autocomplete: "off", spellcheck: "false", autofocus: true, required: true });
  const key = await open(w("key.title"), (close) => {
    const submit = (event) => {
      event.preventDefault();
      close(input.value.trim());
    };
    const forget = h("button", { class: "button push", type: "button", onclick: () => close("") }, w("key.forget"));
    return h("form", { class: "stack", onsubmit: submit },
      wasRefused && note("bad", w("key.refused")),
      field(w("key.label"), input, w("key.hint")),
      h("div", { class: "actions" },
        hasKey() && forget,
        h("button", { class: "button", type: "button", onclick: () => close() }, w("cancel")),
        h("button", { class: "button main", type: "submit" }, w("key.use"))));
  });
  if (key === undefined) return false;
  setKey(key);
  return key !== "";
}
