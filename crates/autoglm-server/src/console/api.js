// Requests to the server. Paths are relative, so that the page also works below a prefix.

import { t } from "./words.js";

const KEY = "autoglm.key";
let askForKey = null;
let asking = null;

/** A request that failed; `status` is 0 where the server cannot be reached. */
export class ApiError extends Error {
  constructor(status, message, code) {
    super(message);
    this.status = status;
    this.code = code;
  }

  /** Whether the server has no such endpoint, or nothing of that name. */
  get isAbsent() {
    return this.status === 404;
  }
}

/** Sets what asks the user for a key. */
export function onKeyNeeded(ask) {
  askForKey = ask;
}

/** Whether a key is kept in this tab. */
export function hasKey() {
  return sessionStorage.getItem(KEY) !== null;
}

/** Keeps a key in this tab, or forgets it. */
export function setKey(key) {
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

/** The answer to a request; asks for a key where the server wants one. */
export async function request(path, options = {}) {
  let response = await send(path, options);
  while (response.status === 401 && askForKey) {
    const used = sessionStorage.getItem(KEY);
    asking ??= askForKey(used !== null).finally(() => { asking = null; });
    if (!(await asking)) break;
    response = await send(path, options);
  }
  if (!response.ok) throw await failure(response);
  return response;
}

/** The JSON that answers a request. */
export async function json(path, options = {}) {
  const response = await request(path, options);
  try {
    return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(response.status, t("error.answer"));
  }
}

/** The events that answer a request, as JSON, up to the mark of the end. */
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value.replaceAll("\r", "");
    const parts = text.split("\n\n");
    text = parts.pop();
    for (const part of parts) {
      const data = dataOf(part);
      if (data === "[DONE]") return;
      if (data) yield parsed(data);
    }
  }
}

async function send(path, { method = "GET", body, signal } = {}) {
  const headers = {};
  const key = sessionStorage.getItem(KEY);
  if (key) headers.authorization = `Bearer ${key}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  const text = body === undefined ? undefined : JSON.stringify(body);
  try {
    return await fetch(path, { method, headers, body: text, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, t("error.network"));
  }
}

async function failure(response) {
  const text = await response.text().catch(() => "");
  let told = {};
  try {
    told = JSON.parse(text).error ?? {};
  } catch {
    // Something between here and the server answers in another form.
  }
  const message = told.message ?? t("error.status", { status: response.status });
  return new ApiError(response.status, message, told.code);
}

function dataOf(part) {
  const lines = part.split("\n").filter((line) => line.startsWith("data:"));
  return lines.map((line) => line.slice(5).trimStart()).join("\n");
}

function parsed(data) {
  const event = JSON.parse(data);
  if (event.error) throw new ApiError(500, event.error.message ?? t("error.answer"), event.error.code);
  return event;
}
