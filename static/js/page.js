// What every page loads: the live connection, its views, and the keyboard.
import { showCount } from "./favicon.js";
import { toggleTheme } from "./keys.js";
import "./store.js";
import "./times.js";
import "./live-views.js";
import "./inbox.js";
import "./talk.js";
import { LiveSocket } from "./socket.js";

const { topics, sequence, epoch, at, running } = document.body.dataset;

showCount(Number(running));

for (const button of document.querySelectorAll("[data-theme-toggle]")) {
  button.hidden = false;
  button.addEventListener("click", toggleTheme);
}
for (const select of document.querySelectorAll("select[data-submit]")) {
  select.addEventListener("change", () => select.form.requestSubmit());
}
for (const list of document.querySelectorAll("[role=tablist]")) list.addEventListener("click", openTab);

function openTab(event) {
  const tab = event.target.closest("[role=tab]");
  if (!tab || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  for (const other of tab.parentElement.querySelectorAll("[role=tab]")) {
    other.setAttribute("aria-selected", String(other === tab));
    document.getElementById(other.getAttribute("aria-controls")).hidden = other !== tab;
  }
  history.replaceState(null, "", tab.getAttribute("href"));
  for (const talk of document.querySelectorAll("live-talk")) talk.connectedCallback();
}

// A panel that asks after the sign-in has run out is answered with the sign-in page: go there, whole.
document.body.addEventListener("htmx:beforeSwap", (event) => {
  if (!new URL(event.detail.xhr.responseURL).pathname.startsWith("/login/")) return;
  event.detail.shouldSwap = false;
  location.reload();
});

if (document.querySelector("terminal-view")) import("./terminal-view.js");
if (document.querySelector("cast-player")) import("./cast-player.js");
if (document.querySelector("launch-form")) import("./launch-form.js");

if (sequence !== undefined) {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const place = { sequence: Number(sequence), epoch, at };
  const socket = new LiveSocket(`${scheme}://${location.host}/ws/live/`, topics.split(" "), place);
  socket.open();
  addEventListener("online", () => socket.hurry());
  document.addEventListener("visibilitychange", () => document.hidden || socket.hurry());
}
