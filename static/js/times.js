// Times that go on: <time-elapsed from to> counts up, <time-left to> down, <time-ago at> looks back. One clock serves all.
const views = new Set();
const showAll = () => views.forEach((view) => view.isConnected && view.show());
setInterval(showAll, 1_000);
// A piece of page that was swapped in brings the words of its server along.
document.body.addEventListener("htmx:afterSwap", showAll);

const two = (number) => String(number).padStart(2, "0");

// The words of dashboard/figures.py seconds().
export function duration(seconds) {
  const total = Math.max(Math.floor(seconds), 0);
  const minutes = Math.floor(total / 60);
  const hours = Math.floor(minutes / 60);
  if (!minutes) return `${total} s`;
  if (!hours) return `${minutes} m ${two(total % 60)} s`;
  if (hours < 24) return `${hours} h ${two(minutes % 60)} m`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

function ago(seconds) {
  if (seconds < 5) return "now";
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} m ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h ago`;
  return `${Math.floor(seconds / 86_400)} d ago`;
}

class TimeView extends HTMLElement {
  static observedAttributes = ["from", "to", "at"];

  connectedCallback() {
    views.add(this);
    this.show();
  }

  disconnectedCallback() {
    views.delete(this);
  }

  attributeChangedCallback() {
    if (this.isConnected) this.show();
  }

  set(text) {
    if (this.textContent !== text) this.textContent = text;
  }
}

class TimeElapsed extends TimeView {
  show() {
    const from = Date.parse(this.getAttribute("from"));
    if (Number.isNaN(from)) return this.set("–");
    const to = Date.parse(this.getAttribute("to"));
    this.set(duration(((Number.isNaN(to) ? Date.now() : to) - from) / 1_000));
  }
}

class TimeAgo extends TimeView {
  show() {
    const at = Date.parse(this.getAttribute("at"));
    if (Number.isNaN(at)) return;
    this.title ||= new Date(at).toLocaleString();
    this.set(ago((Date.now() - at) / 1_000));
  }
}

// Counts down to `to`, and stays at nothing.
class TimeLeft extends TimeView {
  show() {
    const to = Date.parse(this.getAttribute("to"));
    if (Number.isNaN(to)) return this.set("");
    this.title ||= new Date(to).toLocaleString();
    this.set(duration((to - Date.now()) / 1_000));
  }
}

customElements.define("time-left", TimeLeft);
customElements.define("time-elapsed", TimeElapsed);
customElements.define("time-ago", TimeAgo);
