// Asking the server. Every answer is JSON; a refusal is a problem object whose detail says what the
// command line would say.

/** A refusal, or no answer at all (status 0). */
class Problem extends Error {
  constructor(status, title, detail) {
    super(detail || title);
    this.status = status;
    this.title = title;
  }
}

async function asProblem(response) {
  let said = {};
  try {
    said = await response.json();
  } catch {
    // Not ours: a proxy, perhaps.
  }
  const detail = typeof said.detail === "string" ? said.detail : "";
  const problem = new Problem(
    response.status,
    said.title ?? `the server answered ${response.status}`,
    detail,
  );
  if (response.status === 401) document.dispatchEvent(new CustomEvent("sweep-signed-out"));
  return problem;
}

async function answer(path, options) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "No connection to the server", "No connection to the server.");
  }
  if (response.status !== 304 && !response.ok) throw await asProblem(response);
  return response;
}

/** The JSON at a path. */
export async function get(path, { signal } = {}) {
  return (await answer(path, { signal })).json();
}

/**
 * The JSON at a path unless it is what was seen before.
 *
 * @returns {Promise<{tag: string | null, data: object | null}>} data is null where nothing changed.
 */
export async function getIfChanged(path, tag, { signal } = {}) {
  const headers = tag === null ? {} : { "If-None-Match": tag };
  const response = await answer(path, { signal, headers });
  if (response.status === 304) return { tag, data: null };
  return { tag: response.headers.get("ETag"), data: await response.json() };
}

/** Sends JSON; gives the answer. */
export async function post(path, body = {}, { signal } = {}) {
  const response = await answer(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
  return response.status === 204 ? {} : response.json();
}

/** Deletes what is at a path; gives the answer. */
export async function remove(path) {
  return (await answer(path, { method: "DELETE" })).json();
}

/** A path below /api with its parts escaped: api`studies/${name}/state`. */
export function api(texts, ...parts) {
  const escaped = parts.map((part) => encodeURIComponent(part));
  return `/api/${texts.map((text, i) => text + (escaped[i] ?? "")).join("")}`;
}

/** A path with a query; null, undefined and "" are left out, lists are repeated. */
export function withQuery(path, query) {
  const found = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") found.append(name, one);
    }
  }
  const text = found.toString();
  return text ? `${path}?${text}` : path;
}
