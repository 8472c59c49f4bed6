// The elements that live: they start as what the server rendered, and follow the store from there.
import { hear } from "./bus.js";
import { fill, flash, stamp } from "./fill.js";

const ENDED = new Set(["terminated", "failed"]);
const LINGER = 4_000; // an ended runner stays in the list of active ones long enough to be seen

// Listeners are global and elements come and go: each kind of element is asked by query, so nothing leaks.
const all = (selector) => document.querySelectorAll(selector);

class LiveTable extends HTMLElement {
  get body() {
    return this.querySelector("tbody, ul");
  }

  take({ row, part, whole }) {
    const shown = this.body.querySelector(`:scope > [data-id="${CSS.escape(row.id)}"]`);
    if (shown) return this.update(shown, row, part);
    if (whole && this.wants(row)) this.insert(row);
  }

  update(element, row, part) {
    const before = element.dataset.status;
    fill(element, part);
    if (part.status === undefined || part.status === before) return;
    flash(element);
    if (!this.wants(row)) setTimeout(() => this.wants(row) || element.remove(), LINGER);
  }

  insert(row) {
    if (this.dataset.frozen !== undefined) return;
    const element = stamp(this.querySelector("template"), row);
    // Runners stand newest first, nodes by name.
    const next = this.dataset.kind === "runners" ? this.body.firstElementChild : null;
    this.body.insertBefore(element, next);
    flash(element);
    const limit = Number(this.dataset.limit ?? 0);
    while (limit && this.body.children.length > limit) this.body.lastElementChild.remove();
  }

  wants(row) {
    if (this.dataset.kind !== "runners") return true;
    if (this.dataset.scope === "active") return !ENDED.has(row.status);
    const match = JSON.parse(this.dataset.match ?? "{}");
    if (match.q) return false;
    if (match.status === "active" && ENDED.has(row.status)) return false;
    return ["status", "project", "backend", "node"].every(
      (name) => !match[name] || match[name] === "active" || match[name] === row[name],
    );
  }
}

class LiveRow extends HTMLElement {
  take({ row, part }) {
    const before = this.dataset.status;
    fill(this, part);
    if (part.status === undefined) return;
    this.dataset.status = row.status;
    if (before !== row.status) document.body.dispatchEvent(new CustomEvent("live:status", { detail: row }));
    // Not a function while its module loads: it begins with the present attempt by itself.
    for (const view of this.querySelectorAll("terminal-view")) view.attempt?.(row);
  }
}

class LiveFeed extends HTMLElement {
  take(row) {
    const list = this.querySelector("ol, tbody");
    const unwanted = this.dataset.frozen !== undefined || (this.dataset.type && this.dataset.type !== row.type);
    if (unwanted || list.querySelector(`:scope > [data-id="${CSS.escape(row.id)}"]`)) return;
    const element = stamp(this.querySelector("template"), row);
    const next = [...list.children].find((other) => Number(other.dataset.id) < row.sequence);
    list.insertBefore(element, next ?? null);
    flash(element);
    while (list.children.length > Number(this.dataset.limit)) list.lastElementChild.remove();
  }
}

class LiveCount extends HTMLElement {
  take(counts) {
    const count = counts[this.dataset.status] ?? 0;
    this.textContent = count;
    this.toggleAttribute("data-zero", count === 0);
    if (this.dataset.hideZero !== undefined) this.hidden = count === 0;
  }
}

const STATES = {
  off: "not live",
  live: "live",
  connecting: "connecting",
  "signed-out": "signed out",
};

class LiveState extends HTMLElement {
  take({ name, since }) {
    this.dataset.state = name;
    document.body.classList.toggle("stale", name === "stale");
    const time = new Date(since).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
    const text = name === "stale" ? `stale since ${time}` : STATES[name];
    this.querySelector(".state-text").textContent = text;
  }
}

class SparkLine extends HTMLElement {
  points = [];

  add(value) {
    if (typeof value !== "number") return;
    this.points = [...this.points, value].slice(-60);
    if (this.points.length < 2) return;
    const top = Math.max(100, ...this.points);
    const line = this.points.map((point, index) => `${index ? "L" : "M"}${index} ${(20 - (18 * point) / top).toFixed(1)}`);
    this.innerHTML = `<svg viewBox="0 0 59 20" preserveAspectRatio="none"><path d="${line.join("")}"/></svg>`;
  }
}

for (const [name, kind] of Object.entries({
  "live-table": LiveTable,
  "live-row": LiveRow,
  "live-feed": LiveFeed,
  "live-count": LiveCount,
  "live-state": LiveState,
  "spark-line": SparkLine,
})) {
  customElements.define(name, kind);
}

for (const kind of ["runners", "nodes", "sessions"]) {
  hear(`row:${kind}`, (change) => {
    for (const table of all(`live-table[data-kind="${kind}"]`)) table.take(change);
    for (const view of all(`live-row[data-id="${CSS.escape(change.row.id)}"]`)) {
      if ((view.dataset.store ?? "runners") === kind) view.take(change);
    }
    if (kind === "sessions") {
      for (const talk of all(`live-talk[data-session="${CSS.escape(change.row.id)}"]`)) talk.take();
    }
  });
}
// Pages that do not follow the runner that asks learn of it by the count.
let asked;
hear("counts", (counts) => {
  if (counts.approvals !== asked && asked !== undefined) document.body.dispatchEvent(new CustomEvent("live:approval"));
  asked = counts.approvals;
  for (const view of all("live-count")) view.take(counts);
  document.body.dispatchEvent(new CustomEvent("live:counts"));
});
// Agents and jobs are told of by many events at once: panels that show them ask again, at most once a second.
let workforceTold = 0;
let workforceWaits = false;
function tellWorkforce() {
  if (workforceWaits) return;
  workforceWaits = true;
  const wait = Math.max(100, workforceTold + 1_000 - Date.now());
  setTimeout(() => {
    workforceWaits = false;
    workforceTold = Date.now();
    document.body.dispatchEvent(new CustomEvent("live:workforce"));
  }, wait);
}

// What somebody is at must not be swapped away under their hands: such a panel asks again when they are done.
function isBusy(panel) {
  if (panel.matches("[data-dragging]") || panel.querySelector("details.menu[open]")) return true;
  // What is chosen of a list stays chosen in the new one: choose.js sees to that.
  const fields = panel.querySelectorAll("input:not([type=hidden], .choose, [data-choose-all]), textarea, select");
  return [...fields].some(isTyped);
}
function isTyped(field) {
  if (field.type === "checkbox") return field.checked !== field.defaultChecked;
  if (field.tagName !== "SELECT") return field.value !== field.defaultValue;
  const first = [...field.options].findIndex((option) => option.defaultSelected);
  return field === document.activeElement || field.selectedIndex > Math.max(first, 0);
}
// Asked before the request, and again before its answer takes the place of what was begun meanwhile.
for (const moment of ["htmx:beforeRequest", "htmx:beforeSwap"]) {
  document.body.addEventListener(moment, (event) => {
    const why = event.detail.requestConfig.triggeringEvent?.type;
    if (!["live:workforce", "live:approval"].includes(why) || !isBusy(event.target)) return;
    event.preventDefault();
    if (why === "live:workforce") tellWorkforce();
    else setTimeout(() => document.body.dispatchEvent(new CustomEvent(why)), 1_000);
  });
}
hear("event", (row) => {
  for (const feed of all("live-feed")) feed.take(row);
  const subject = row.type.split(".")[0];
  if (["agent", "job", "time"].includes(subject)) tellWorkforce();
  if (["worktree", "operation", "approval", "limit"].includes(subject)) {
    document.body.dispatchEvent(new CustomEvent(`live:${subject}`, { detail: row }));
  }
});
hear("state", (state) => all("live-state").forEach((view) => view.take(state)));
hear("resync", () => {
  document.body.dispatchEvent(new CustomEvent("live:resync"));
  for (const talk of all("live-talk")) talk.take();
});
