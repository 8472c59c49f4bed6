// The admin's runners, kept up to date: by the dashboard's websocket, and by asking the API while that is away.
import { hear } from "./bus.js";
import { LiveSocket } from "./socket.js";

const ASK_EVERY = 5_000;
const NONE = "–";
const OCCUPYING = new Set(["starting", "running", "paused", "stopping", "unknown"]);

const cells = new Map(); // runner's id > figure > the elements that show it
for (const element of document.querySelectorAll("[data-runner][data-figure]")) {
  const { runner, figure } = element.dataset;
  if (!cells.has(runner)) cells.set(runner, {});
  (cells.get(runner)[figure] ??= []).push(element);
}
const labels = Object.fromEntries(
  [...document.querySelectorAll("template[data-status-label]")].map((label) => [label.dataset.statusLabel, label]),
);

let asking;

if (cells.size) start();

function start() {
  hear("delta", (message) => [...(message.rows ?? []), ...(message.observed ?? [])].forEach(show));
  // A snapshot holds the open runners: a shown one that ended meanwhile is missing there.
  hear("resync", ask);
  hear("state", ({ name }) => (name === "live" ? rest() : askOn()));
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const socket = new LiveSocket(`${scheme}://${location.host}/ws/live/`, ["fleet"], {});
  socket.open();
  document.addEventListener("visibilitychange", () => document.hidden || socket.hurry());
}

function show(row) {
  const shown = cells.get(row.id);
  if (!shown) return;
  if (row.status) put(shown.status, row.status, (element) => element.replaceChildren(badge(row.status)));
  for (const figure of ["cpu", "memory"]) {
    if (row[figure] !== undefined) put(shown[figure], row[figure], (element) => (element.textContent = row[figure]));
  }
}

// Only what changed is written, so that a selection of text survives.
function put(elements = [], value, write) {
  for (const element of elements) {
    if (element.dataset.value === value) continue;
    element.dataset.value = value;
    write(element);
  }
}

function badge(status) {
  return labels[status]?.content.cloneNode(true) ?? document.createTextNode(status);
}

function askOn() {
  asking ??= setInterval(ask, ASK_EVERY);
}

function rest() {
  clearInterval(asking);
  asking = undefined;
}

async function ask() {
  if (document.hidden) return;
  const ids = [...cells.keys()];
  try {
    const answer = await fetch(`/api/v1/runners/?page_size=${ids.length}&id=${ids.join(",")}`, {
      headers: { Accept: "application/json" },
    });
    if (answer.ok) (await answer.json()).results.forEach((runner) => show(rowOf(runner)));
  } catch (error) {
    // The server is away: the next turn asks again, and says so here.
    console.warn("admin: the API did not answer:", error.message);
  }
}

function rowOf({ id, status, observation }) {
  const seen = OCCUPYING.has(status) ? observation : null;
  return {
    id,
    status,
    cpu: seen ? `${seen.cpu_percent.toFixed(0)} %` : NONE,
    memory: seen ? `${seen.memory_mb.toFixed(0)} MB` : NONE,
  };
}
