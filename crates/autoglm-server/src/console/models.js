// Models: which versions are served, and how another one takes the place of the live one.

import { json } from "./api.js";
import { check, facts, field, h, note, replace } from "./dom.js";
import { confirm, open, tell } from "./overlay.js";
import { moment, number, percent, t, w } from "./words.js";

const MODES = ["switch", "canary", "shadow"];
/** Candidates on trial change by themselves. */
const REFRESH_MS = 5000;

/** The section. */
export function modelsView() {
  const list = h("div", { class: "stack", id: "models" });
  const refresh = () => show(list);
  const element = h("div", { class: "page" },
    h("div", { class: "head" }, h("div", {}, h("h1", {}, w("section.models")), h("p", {}, w("models.about"))),
      h("button", { class: "button", type: "button", onclick: refresh }, w("refresh"))),
    list);
  let timer = 0;
  return {
    element,
    onShow: () => {
      refresh();
      timer = setInterval(() => { if (!isBusy(list)) refresh(); }, REFRESH_MS);
    },
    onHide: () => clearInterval(timer),
  };
}

/** Whether the keyboard stands in the list, which must not be drawn anew then. */
function isBusy(list) {
  return list.contains(document.activeElement) || document.hidden;
}

async function show(list) {
  try {
    const [told, served] = await Promise.all([json("admin/models"), json("v1/models").catch(() => ({ data: [] }))]);
    const facts = new Map(served.data.map((model) => [model.id, model]));
    replace(list, told.models.map((model) => card(model, facts.get(model.name), () => show(list))));
  } catch (error) {
    replace(list, error.isAbsent ? note("", w("models.absent")) : note("bad", error.message));
  }
}

function card(model, served, refresh) {
  const { name, live, previous, candidate, last } = model;
  const act = (path, words) => h("button", { class: "button", type: "button", onclick: () => change(name, path, refresh) }, w(words));
  const update = h("button", { class: "button main", type: "button", onclick: () => load(name, refresh) }, w("models.load"));
  return h("section", { class: "card", "aria-label": name },
    h("header", {},
      h("h2", {}, name),
      served && h("span", { class: "tag" }, w(`models.does.${served.capability}`)),
      served && h("span", { class: "muted small number" }, () => t("models.context", { tokens: number(served.context_tokens) })),
      h("div", { class: "row push" },
        candidate && act("promote", "models.promote"),
        (candidate || previous) && act("rollback", candidate ? "models.end" : "models.rollback"),
        update)),
    h("div", { class: "versions" },
      version(live, "models.live", "good"),
      candidate && version(candidate, "models.candidate", "warn"),
      previous && version(previous, "models.previous", "")),
    last && note("", () => t("models.last", { what: last })));
}

function version(told, words, kind) {
  const { mode, health } = told;
  const share = mode?.canary_percent;
  return h("div", { class: "version" },
    h("div", { class: "row" },
      h("span", { class: `tag ${kind}` }, w(words)),
      h("strong", {}, w("models.version", { number: told.version })),
      share !== undefined && h("span", { class: "tag" }, () => t("models.canary", { share: percent(share / 100) })),
      mode === "shadow" && h("span", { class: "tag" }, w("models.shadow"))),
    facts([
      [w("models.source"), h("span", { class: "mono" }, told.source)],
      [w("models.loaded"), () => moment(told.loaded * 1000)],
      [w("models.answered"), h("span", { class: "number" }, () => number(told.answered))],
      [w("models.failed"), h("span", { class: "number" }, () => number(told.failed))],
      [w("models.fingerprint"), h("span", { class: "mono" }, told.system_fingerprint)],
      ...(health ? healthFacts(health) : []),
      [w("models.same"), told.compared > 0 && (() => t("models.same.of", { same: number(told.same), all: number(told.compared) }))],
    ].filter(([, value]) => value !== false)));
}

function healthFacts(health) {
  return [
    [w("models.latency"), h("span", { class: "number" }, () => `${number(health.latency_ratio, 2)} ×`)],
    [w("models.shift"), h("span", { class: "number" }, () => t("models.nats", { nats: number(health.shift_nats, 3) }))],
  ];
}

/** Promotes or rolls back, once the user has said so twice. */
async function change(name, path, refresh) {
  const isSure = await confirm(w(`models.${path}.title`, { name }), w(`models.${path}.text`), w(`models.${path}`));
  if (!isSure) return;
  try {
    await json(`admin/models/${encodeURIComponent(name)}/${path}`, { method: "POST", body: {} });
    tell(t("models.done"));
  } catch (error) {
    tell(error.message);
  }
  refresh();
}

/** Asks what is to be loaded, and how it begins; errors are told in the dialog, which stays. */
async function load(name, refresh) {
  const source = h("input", { class: "input mono", id: "source", required: true, autofocus: true, spellcheck: "false", autocomplete: "off" });
  const mode = h("select", { class: "input", id: "mode" }, MODES.map((value) => h("option", { value }, w(`models.mode.${value}`))));
  const share = h("input", { class: "input", id: "percent", type: "number", min: 1, max: 99, value: 5 });
  const force = h("input", { type: "checkbox" });
  const shareField = field(w("models.percent"), share);
  const showShare = () => { shareField.hidden = mode.value !== "canary"; };
  mode.addEventListener("change", showShare);
  showShare();
  const said = h("div");
  const send = async (close) => {
    replace(said, note("", w("models.loading")));
    const body = { source: source.value.trim(), mode: mode.value, force: force.checked };
    if (mode.value === "canary") body.percent = Number(share.value);
    try {
      await json(`admin/models/${encodeURIComponent(name)}/update`, { method: "POST", body });
      close(true);
      tell(t("models.done"));
    } catch (error) {
      replace(said, note("bad", error.message));
    }
  };
  const done = await open(w("models.load.title", { name }), (close) => h("form", { class: "stack", onsubmit: (event) => {
    event.preventDefault();
    send(close);
  } },
  field(w("models.source"), source, w("models.source.hint")),
  field(w("models.mode"), mode), shareField,
  check(w("models.force"), force), said,
  h("div", { class: "actions" },
    h("button", { class: "button", type: "button", onclick: () => close() }, w("cancel")),
    h("button", { class: "button main", type: "submit" }, w("models.load.do")))));
  if (done) refresh();
}
