// <terminal-view>: xterm.js on the terminal websocket (docs/live-protocol.md). Loaded only where a terminal is shown.
import { FitAddon } from "../vendor/xterm/addon-fit.mjs";
import { Terminal } from "../vendor/xterm/xterm.mjs";

const THEME = {
  background: "#00000000",
  foreground: "#d6dfda",
  cursor: "#e6b05c",
  cursorAccent: "#0b0f0e",
  selectionBackground: "#3b4a45",
  black: "#1c2422",
  red: "#ff8a7a",
  green: "#63d594",
  yellow: "#e3c34f",
  blue: "#74b6ef",
  magenta: "#d5a3dc",
  cyan: "#6fd3cf",
  white: "#d6dfda",
  brightBlack: "#7d8c85",
  brightRed: "#ffab9f",
  brightGreen: "#8be6b1",
  brightYellow: "#f2d97c",
  brightBlue: "#9bccf5",
  brightMagenta: "#e4c0e9",
  brightCyan: "#98e3e0",
  brightWhite: "#f4f8f6",
};
const BACKOFF = [500, 1_000, 2_000, 5_000, 10_000];
const GONE = new Set([4401, 4404]);

class TerminalView extends HTMLElement {
  connectedCallback() {
    if (this.screen) return;
    this.innerHTML = '<div class="screen"></div><p class="note"><span class="says">connecting</span><span class="rights"></span></p>';
    this.screen = this.querySelector(".screen");
    this.terminal = new Terminal({
      cols: 120,
      rows: 32,
      scrollback: 20_000,
      fontFamily: getComputedStyle(document.body).getPropertyValue("--mono"),
      fontSize: 13,
      lineHeight: 1.25,
      theme: THEME,
      allowTransparency: true,
      disableStdin: true,
      screenReaderMode: false,
      convertEol: false,
    });
    this.fit = new FitAddon();
    this.terminal.loadAddon(this.fit);
    this.terminal.onData((data) => this.send({ op: "input", data }));
    this.generation = this.dataset.generation;
    this.failures = 0;
    this.shownWhenVisible = new IntersectionObserver(([entry]) => entry.isIntersecting && this.begin());
    this.shownWhenVisible.observe(this);
    // Only who works in the terminal gives it a size: viewers see it as it is.
    this.screen.addEventListener("focusin", () => this.claimSize());
    window.addEventListener("resize", () => this.screen.contains(document.activeElement) && this.claimSize());
  }

  begin() {
    this.shownWhenVisible.disconnect();
    this.terminal.open(this.screen);
    this.connect();
  }

  disconnectedCallback() {
    this.leaving = true;
    this.socket?.close();
  }

  connect() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const place = this.offset === undefined ? "" : `?offset=${this.offset}&generation=${this.generation}`;
    this.socket = new WebSocket(`${scheme}://${location.host}${this.dataset.url}${place}`);
    this.socket.onmessage = (event) => this.take(JSON.parse(event.data));
    this.socket.onclose = (event) => this.closed(event.code);
  }

  closed(code) {
    if (this.leaving || GONE.has(code)) return this.say(code === 4404 ? "It has no terminal yet." : "");
    this.say("The connection was lost; connecting again.", true);
    const wait = BACKOFF[Math.min(this.failures++, BACKOFF.length - 1)] * (0.5 + Math.random());
    this.retry = setTimeout(() => this.connect(), wait);
  }

  // Another attempt of the runner has another recording.
  attempt(row) {
    const waits = this.socket?.readyState === WebSocket.CLOSED && row.status !== "queued";
    if (String(row.generation) === this.generation && !waits) return;
    this.generation = String(row.generation);
    this.offset = undefined;
    this.terminal.reset();
    clearTimeout(this.retry);
    this.socket?.close();
    if (waits) this.connect();
  }

  take(message) {
    const act = {
      hello: () => this.hello(message),
      size: () => this.terminal.resize(message.columns, message.rows),
      output: () => this.terminal.write(message.data),
      // After what was written before it has been drawn.
      at: () => this.terminal.write("", () => this.reached(message.offset)),
      end: () => this.ended(),
      trouble: () => this.say(`${message.error} Trying again.`, true),
      well: () => this.say(this.known),
      refused: () => this.say(message.error, true),
    }[message.op];
    act?.();
  }

  hello({ generation, writable, truncated, offset }) {
    this.failures = 0;
    if (offset === 0 || truncated || String(generation) !== this.generation) this.terminal.reset();
    this.generation = String(generation);
    this.writable = writable;
    this.terminal.options.disableStdin = !writable;
    this.querySelector(".rights").textContent = writable ? "Click to type" : "Read only";
    this.known = truncated ? "The beginning of a long output is not shown." : "";
    this.say(`Asking ${this.dataset.node} for the output.`);
  }

  reached(offset) {
    this.offset = offset;
    this.send({ op: "ack", count: 1 });
    this.say(this.known);
  }

  ended() {
    this.terminal.options.disableStdin = true;
    this.terminal.options.cursorBlink = false;
    this.querySelector(".rights").textContent = "";
    this.say("The program has ended.");
  }

  claimSize() {
    if (!this.writable || this.terminal.options.disableStdin) return;
    const size = this.fit.proposeDimensions();
    if (!size || (size.cols === this.terminal.cols && size.rows === this.terminal.rows)) return;
    this.send({ op: "resize", columns: size.cols, rows: size.rows });
  }

  send(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  say(text, trouble = false) {
    const place = this.querySelector(".says");
    place.textContent = text;
    place.classList.toggle("trouble", trouble);
  }

  // For tests and for copying: what the screen shows, as text.
  get text() {
    const buffer = this.terminal.buffer.active;
    return Array.from({ length: buffer.length }, (_, line) => buffer.getLine(line).translateToString(true)).join("\n");
  }
}

customElements.define("terminal-view", TerminalView);
