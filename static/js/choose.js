// Choose some rows or cards, for the buttons of the batch form: by clicks, a range with shift, or the keys x and b.
const chosen = new Set();
let last = null;

const boxes = () => [...document.querySelectorAll("input.choose")];
const itemOf = (target) => target.closest?.(".job-card, .agent-cards > li, table.agents tbody tr");
const typing = (target) => target.closest("textarea, select, [contenteditable], input:not([type=checkbox])") !== null;

function show() {
  const all = boxes();
  const there = new Set(all.map((box) => box.value));
  for (const id of chosen) if (!there.has(id)) chosen.delete(id);
  for (const box of all) box.checked = chosen.has(box.value);
  for (const line of document.querySelectorAll("[data-chosen-count]")) line.textContent = `the ${chosen.size}`;
  const whole = document.querySelector("[data-choose-all]");
  if (whole) {
    whole.checked = all.length > 0 && chosen.size === all.length;
    whole.indeterminate = chosen.size > 0 && !whole.checked;
  }
}

function choose(box, on) {
  if (on) chosen.add(box.value);
  else chosen.delete(box.value);
}

function toggle(box, ranged) {
  const all = boxes();
  const [from, to] = [all.indexOf(last), all.indexOf(box)];
  const on = !chosen.has(box.value);
  if (ranged && from >= 0) for (const each of all.slice(Math.min(from, to), Math.max(from, to) + 1)) choose(each, on);
  else choose(box, on);
  last = box;
  show();
}

document.addEventListener("click", (event) => {
  if (event.target.matches?.("input.choose")) toggle(event.target, event.shiftKey);
  else if (event.target.matches?.("[data-choose-all]")) {
    for (const box of boxes()) choose(box, event.target.checked);
    show();
  } else if (event.target.matches?.("[data-choose-none]")) {
    chosen.clear();
    show();
  }
});

function onKey(event) {
  const item = itemOf(event.target);
  const box = item?.querySelector("input.choose");
  if (event.key === "x" && box) toggle(box, false);
  else if (event.key === "Escape" && chosen.size && !event.target.closest("details[open], dialog")) {
    chosen.clear();
    show();
  } else if (event.key === "b" && chosen.size) document.querySelector("#batch button[name=verb]")?.focus();
  else return item?.matches("tr") ? step(item, event.key) : false;
  return true;
}

/** Go from row to row of a table, as the board goes from card to card. */
function step(row, key) {
  const next = { ArrowDown: row.nextElementSibling, ArrowUp: row.previousElementSibling }[key];
  next?.querySelector(".row-link")?.focus();
  return Boolean(next);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
  if (onKey(event)) event.preventDefault();
});
// What is refreshed comes from the server with nothing chosen.
document.addEventListener("htmx:afterSettle", show);
// A page come back to by the browser's button may have boxes that are ticked.
for (const box of boxes()) choose(box, box.checked);
show();
