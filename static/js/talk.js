// <live-talk>: a conversation that grows while it is read, and is walked through by keys: j, k, o, O, e.
import { flash } from "./fill.js";

const NEAR_END = 160;

class LiveTalk extends HTMLElement {
  get list() {
    return this.querySelector("ol");
  }

  // On a runner's page the list scrolls, on a session's the page does.
  get scroller() {
    return this.list.scrollHeight > this.list.clientHeight + 1 ? this.list : document.scrollingElement;
  }

  get atEnd() {
    if (this.scroller === this.list) return this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight < NEAR_END;
    return this.list.getBoundingClientRect().bottom < innerHeight + NEAR_END;
  }

  // One request at a time; what comes meanwhile is fetched by the next.
  async take() {
    if (this.dataset.frozen !== undefined) return;
    this.wanted = true;
    if (this.busy) return;
    this.busy = true;
    try {
      while (this.wanted) {
        this.wanted = false;
        await this.fetchNew();
      }
    } finally {
      this.busy = false;
    }
  }

  async fetchNew() {
    const answer = await fetch(`${this.dataset.url}?after=${this.dataset.last}`);
    if (!answer.ok || answer.redirected) return;
    const follow = this.atEnd;
    const piece = document.createElement("template");
    piece.innerHTML = await answer.text();
    const news = [...piece.content.querySelectorAll("[data-message]")];
    for (const item of news) this.add(item);
    if (!news.length) return;
    this.dataset.last = Math.max(this.dataset.last, ...news.map((item) => Number(item.dataset.message)));
    this.wanted = true;
    if (follow) this.toEnd();
    else this.querySelector(".to-news").hidden = false;
    document.body.dispatchEvent(new CustomEvent("live:talk"));
  }

  add(item) {
    if (document.getElementById(item.id)) return;
    const call = item.dataset.result !== undefined && this.callOf(item);
    if (call) this.giveResult(call, item);
    else this.list.append(item);
    window.htmx?.process(call || item);
    flash(call || item);
  }

  callOf(item) {
    if (!item.dataset.call) return null;
    const calls = this.list.querySelectorAll(`[data-call="${CSS.escape(item.dataset.call)}"]:not([data-result])`);
    return [...calls].findLast((call) => !call.querySelector(".printed").children.length);
  }

  giveResult(call, item) {
    const printed = call.querySelector(".printed");
    printed.replaceChildren(...item.querySelector(".printed").childNodes);
    printed.id = item.id;
    call.dataset.message = item.dataset.message;
    const seconds = Number(item.dataset.at) - Number(call.dataset.at);
    if (seconds >= 1) call.querySelector("[data-took]").textContent = `${Math.floor(seconds)} s`;
    if (item.classList.contains("error")) {
      call.classList.add("error");
      call.querySelector("[data-took]").after(" ", item.querySelector(".failed-tag"));
    }
  }

  toEnd() {
    this.querySelector(".to-news").hidden = true;
    if (this.scroller === this.list) this.list.scrollTop = this.list.scrollHeight;
    else this.list.lastElementChild?.scrollIntoView({ block: "end" });
  }

  connectedCallback() {
    const button = this.querySelector(".to-news");
    if (button && !this.ready) {
      this.ready = true;
      button.addEventListener("click", (event) => {
        event.preventDefault();
        this.toEnd();
      });
      addEventListener("scroll", () => this.atEnd && (button.hidden = true), { passive: true, capture: true });
    }
    if (!this.list) return;
    if (location.hash === "#news") this.toEnd();
    else if (this.scroller === this.list) this.list.scrollTop = this.list.scrollHeight;
  }

  // --- Keys ---

  get items() {
    return [...this.list.children];
  }

  // Where the reader is: the message that has the focus, or the first one in sight.
  get here() {
    const items = this.items;
    const focused = items.indexOf(document.activeElement.closest?.(".message"));
    if (focused >= 0) return { index: focused, onIt: true };
    const index = items.findIndex((item) => item.getBoundingClientRect().bottom > 60);
    return { index: index < 0 ? items.length : index, onIt: false };
  }

  step(direction, fits = () => true) {
    const { index, onIt } = this.here;
    let next = index + (onIt || direction < 0 ? direction : 0);
    while (this.items[next] && !fits(this.items[next])) next += direction;
    this.goTo(this.items[next]);
  }

  goTo(item) {
    if (!item) return;
    item.focus({ preventScroll: true });
    item.scrollIntoView({ block: "nearest" });
  }

  unfold() {
    const { index, onIt } = this.here;
    const details = onIt && this.items[index]?.querySelector("details");
    if (details) details.open = !details.open;
  }

  unfoldAll() {
    const all = [...this.list.querySelectorAll("details")];
    const open = all.some((details) => !details.open);
    for (const details of all) details.open = open;
  }

  press(key) {
    const act = {
      j: () => this.step(1),
      k: () => this.step(-1),
      e: () => this.step(1, (item) => item.classList.contains("error")),
      o: () => this.unfold(),
      O: () => this.unfoldAll(),
    }[key];
    act?.();
    return Boolean(act);
  }
}

customElements.define("live-talk", LiveTalk);

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.target.closest("input, textarea, select, [contenteditable], .xterm, cast-player, dialog")) return;
  const talk = [...document.querySelectorAll("live-talk")].find((each) => each.offsetParent !== null);
  if (talk?.press(event.key)) event.preventDefault();
});

for (const form of document.querySelectorAll("[data-find]")) {
  form.addEventListener("change", (event) => event.target.name === "at" || form.requestSubmit());
  // Only what was chosen goes into the address.
  form.addEventListener("formdata", ({ formData }) => {
    for (const [name, value] of [...formData]) if (!value) formData.delete(name);
  });
}
