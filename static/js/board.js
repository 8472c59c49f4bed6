// The job board: drag a card to another column, or go about with the keys. Where a card may go is told by the buttons of
// its menu, which the server made; whatever moves a card presses one of them.
const board = () => document.getElementById("board");
const flashes = document.getElementById("flash");
let dragged = null;

const buttonFor = (card, column) => card.querySelector(`button[name=to][value="${CSS.escape(column.dataset.column)}"]`);
const columnAt = (target) => target.closest?.("[data-column]");
const cardAt = (target) => target.closest?.(".job-card");

function say(text) {
  const line = document.createElement("p");
  line.className = "flash error";
  line.textContent = text;
  flashes.replaceChildren(line);
}

function move(card, column) {
  const from = columnAt(card);
  if (from === column) return;
  const button = buttonFor(card, column);
  if (button) return button.click(); // not requestSubmit(): htmx learns of the pressed button by its click
  const title = card.querySelector(".job-title").textContent;
  if (column.dataset.column === "in_progress" && from.dataset.column === "pending") {
    return say(`“${title}” is in progress once it is assigned: open it and choose who does it.`);
  }
  say(`“${title}” cannot go from ${from.dataset.label.toLowerCase()} to ${column.dataset.label.toLowerCase()}.`);
}

document.addEventListener("dragstart", (event) => {
  dragged = cardAt(event.target);
  if (!dragged) return;
  event.dataTransfer.effectAllowed = "move";
  event.dataTransfer.setData("text/plain", dragged.dataset.job);
  board().dataset.dragging = "";
  for (const column of board().querySelectorAll("[data-column]")) {
    column.dataset.drop = column === columnAt(dragged) ? "here" : buttonFor(dragged, column) ? "yes" : "no";
  }
});
// Illegal columns take the drop too: to say why it is refused.
document.addEventListener("dragover", (event) => {
  const column = dragged && columnAt(event.target);
  if (!column) return;
  event.preventDefault();
  event.dataTransfer.dropEffect = "move";
});
document.addEventListener("drop", (event) => {
  const column = dragged && columnAt(event.target);
  if (!column) return;
  event.preventDefault();
  move(dragged, column);
});
document.addEventListener("dragend", () => {
  dragged = null;
  delete board().dataset.dragging;
  for (const column of board().querySelectorAll("[data-column]")) delete column.dataset.drop;
});

// --- Keys ---

function focus(card) {
  card?.querySelector(".job-title").focus();
}

function beside(card, step) {
  const columns = [...board().querySelectorAll("[data-column]")];
  const row = [...card.parentElement.children].indexOf(card);
  for (let at = columns.indexOf(columnAt(card)) + step; columns[at]; at += step) {
    const cards = columns[at].querySelectorAll(".job-card");
    if (cards.length) return cards[Math.min(row, cards.length - 1)];
  }
  return null;
}

const STEPS = {
  ArrowUp: (card) => card.previousElementSibling,
  ArrowDown: (card) => card.nextElementSibling,
  ArrowLeft: (card) => beside(card, -1),
  ArrowRight: (card) => beside(card, 1),
};

function stepInMenu(menu, key) {
  const choices = [...menu.querySelectorAll("form a, form button")];
  const at = choices.indexOf(document.activeElement);
  const step = { ArrowDown: 1, ArrowUp: -1 }[key];
  if (step) choices[(at + step + choices.length) % choices.length].focus();
  return Boolean(step);
}

function onKey(event) {
  const card = cardAt(event.target);
  if (!card) return false;
  const menu = event.target.closest("details.menu[open]");
  if (event.key === "Escape" && menu) {
    menu.open = false;
    focus(card);
    return true;
  }
  if (menu) return stepInMenu(menu, event.key);
  if (event.key === "m") return openMenu(card);
  if (!STEPS[event.key]) return false;
  focus(STEPS[event.key](card));
  return true;
}

function openMenu(card) {
  const menu = card.querySelector("details.menu");
  if (!menu) return false;
  menu.open = true;
  menu.querySelector("form a, form button").focus();
  return true;
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (onKey(event)) event.preventDefault();
});
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});
