// The page: who is asking, which view the address names, and drawing it.

import { address, takeToken } from "./address.js";
import { announce } from "./announce.js";
import { get, post } from "./api.js";
import { drawFigures, dropFigures } from "./charts.js";
import { watchConnection } from "./connection.js";
import { h, show } from "./dom.js";
import { NotFound } from "./notfound.js";
import { Query } from "./query.js";
import { SignIn } from "./signin.js";
import { Studies } from "./studies.js";
import { Study } from "./study.js";
import { Trial } from "./trial.js";

const main = document.getElementById("main");
const leave = document.getElementById("leave");

let view = null;
let viewKey = null;
let session = null;

function choose(at) {
  const [page, name] = at.parts;
  if (page === undefined || (page === "studies" && name === undefined)) return ["studies", Studies];
  if (page === "studies") return [`study ${name}`, Study];
  if (page === "trials" && name !== undefined) return [`trial ${name}`, Trial];
  if (page === "query") return ["query", Query];
  return ["nothing", NotFound];
}

function draw() {
  if (view === null) return;
  show(main, view.draw());
  document.title = `${view.title()} · sweep`;
  drawFigures(main).catch((error) => announce(error.message));
}

function enter(key, Kind, at) {
  const first = viewKey === null;
  view?.leave?.();
  dropFigures(main);
  main.replaceChildren();
  viewKey = key;
  const mine = new Kind(
    () => {
      if (view === mine) draw();
    },
    session,
    at,
  );
  view = mine;
  mark(at);
  draw();
  view.enter?.();
  if (first) return;
  scrollTo(0, 0);
  main.focus({ preventScroll: true });
}

function mark(at) {
  const page = at.parts[0] ?? "studies";
  for (const anchor of document.querySelectorAll("[data-page]")) {
    const here = anchor.dataset.page === (page === "trials" ? "studies" : page);
    if (here) anchor.setAttribute("aria-current", "page");
    else anchor.removeAttribute("aria-current");
  }
}

function route() {
  if (session === null) return;
  const at = address();
  if (!session.logged_in) {
    enter("sign in", SignIn, at);
    return;
  }
  const [key, Kind] = choose(at);
  if (key !== viewKey) {
    enter(key, Kind, at);
    return;
  }
  view.route?.(at);
  draw();
}

async function begin() {
  const token = takeToken();
  try {
    if (token !== null) await post("/api/login", { token });
  } catch (error) {
    if (error.status === 0) throw error;
    announce(error.message); // the form below asks again
  }
  session = await get("/api/session");
  leave.hidden = !(session.token_required && session.logged_in);
  viewKey = null;
  route();
}

function start() {
  begin().catch((error) => {
    if (view === null) show(main, h("p", { class: "trouble", role: "alert" }, error.message));
    setTimeout(start, 3000);
  });
}

document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the fragment is the address of a view
  main.focus();
});
leave.addEventListener("click", async () => {
  await post("/api/logout").catch(() => null);
  start();
});
document.addEventListener("sweep-signed-out", () => {
  if (session?.logged_in) {
    session = { ...session, logged_in: false };
    route();
  }
});
document.addEventListener("sweep-signed-in", start);
document.addEventListener("sweep-theme", () => draw());
addEventListener("hashchange", () => {
  if (/^#token=/.test(location.hash)) start();
  else route();
});
watchConnection(document.getElementById("connection"));
start();
