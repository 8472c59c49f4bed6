// Keyboard: g and a letter go somewhere, / searches, ? shows the list. A link names its key in data-key.
let waitsForSecond = 0;

export const typing = (target) => target.closest("input, textarea, select, [contenteditable], .xterm") !== null;

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
  const afterG = Date.now() - waitsForSecond < 1_200;
  waitsForSecond = event.key === "g" ? Date.now() : 0;
  if (event.key === "g") return;
  const act = afterG ? follow(`g${event.key}`) : single(event.key);
  if (act) event.preventDefault();
});

function single(key) {
  if (key === "?") return toggleHelp();
  if (key === "/") return focusSearch();
  if (key === "t") return toggleTheme();
  return follow(key) || (key === "l" && document.querySelector("[data-may-launch]") && goTo("/launch/"));
}

function follow(key) {
  const link = document.querySelector(`a[data-key="${CSS.escape(key)}"]`);
  link?.click();
  return Boolean(link);
}

function goTo(address) {
  location.assign(address);
  return true;
}

function toggleHelp() {
  const help = document.getElementById("help");
  if (help.open) help.close();
  else help.showModal();
  return true;
}

function focusSearch() {
  const field = document.querySelector("[data-search]");
  if (!field) return goTo("/runners/");
  field.focus();
  field.select();
  return true;
}

export function toggleTheme() {
  const root = document.documentElement;
  const light = matchMedia("(prefers-color-scheme: light)").matches;
  const now = root.dataset.theme ?? (light ? "light" : "dark");
  root.dataset.theme = now === "dark" ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
  return true;
}
