// What waits for an answer, by keys: j and k choose, a allows once, s for the session, d denies. On any page that has some.
import { typing } from "./keys.js";

let chosen = "";

const cards = () => [...document.querySelectorAll("[data-approval]")];
const current = () => cards().find((card) => card.id === chosen);

function choose(card, scroll = true) {
  chosen = card?.id ?? "";
  for (const each of cards()) each.toggleAttribute("data-chosen", each === card);
  if (scroll) card?.scrollIntoView({ block: "nearest" });
}

function step(by) {
  const all = cards();
  if (!all.length) return;
  const at = all.findIndex((card) => card.id === chosen);
  choose(all[at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(Math.max(at + by, 0), all.length - 1)]);
}

// Held keys and double strokes must not answer the next question too.
let answeredAt = 0;

function answer(key) {
  const button = current()?.querySelector(`[data-answer="${key}"]`);
  if (!button || button.disabled || Date.now() - answeredAt < 400) return;
  answeredAt = Date.now();
  const all = cards();
  const next = all[all.indexOf(current()) + 1] ?? all[all.indexOf(current()) - 1];
  button.click();
  chosen = next?.id ?? "";
}

let afterG = 0;
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || typing(event.target)) return;
  const second = Date.now() - afterG < 1_200;
  afterG = event.key === "g" ? Date.now() : 0;
  if (second || !cards().length) return;
  if (event.key === "j") step(1);
  else if (event.key === "k") step(-1);
  else if ("asd".includes(event.key)) answer(event.key);
  else return;
  event.preventDefault();
});
document.addEventListener("focusin", (event) => {
  const card = event.target.closest?.("[data-approval]");
  if (card) choose(card, false);
});
// What is being typed outlives a swap: it may have been asked for before the first key.
const reason = (card) => card.querySelector("[name=message]");
let typed = new Map();
document.body.addEventListener("htmx:beforeSwap", () => {
  typed = new Map(cards().map((card) => [card.id, reason(card)?.value]));
});
document.body.addEventListener("htmx:afterSwap", () => {
  for (const card of cards()) if (typed.get(card.id) && reason(card)) reason(card).value ||= typed.get(card.id);
});
// A fresh card is not chosen by itself, but the chosen one stays so.
document.body.addEventListener("htmx:afterSettle", () => choose(current(), false));
