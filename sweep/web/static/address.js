// Where the page is: kept in the fragment of the address, so that reload, back and a bookmark work.
//
//   #/studies/NAME/heatmap?cell=KEY      ->  {parts: ["studies", "NAME", "heatmap"], query: {...}}

/** What the address says now. */
export function address() {
  const text = location.hash.replace(/^#\/?/, "");
  const [path, query = ""] = text.split("?", 2);
  const parts = path.split("/").filter(Boolean).map(decoded);
  return { parts, query: new URLSearchParams(query) };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // half of an escape: somebody typed it
  }
}

/** A fragment for parts and a query; null and "" are left out of the query, lists are repeated. */
export function link(parts, query = {}) {
  const found = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") found.append(name, one);
    }
  }
  const text = found.toString();
  return `#/${parts.map(encodeURIComponent).join("/")}${text ? `?${text}` : ""}`;
}

/** Goes somewhere; a step that back undoes. */
export function go(fragment) {
  location.hash = fragment;
}

/** Rewrites the address without a step in the history: for what is typed. */
export function rewrite(fragment) {
  history.replaceState(null, "", fragment);
}

/** Takes `#token=...` out of the address, so that it is neither bookmarked nor shown. */
export function takeToken() {
  const found = /^#token=(.+)$/.exec(location.hash);
  if (found === null) return null;
  rewrite("#/studies");
  return decoded(found[1]);
}
