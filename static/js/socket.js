// The live websocket (docs/live-protocol.md): subscribe from the last position, acknowledge, ping, reconnect.
import { tell } from "./bus.js";

const PING_EVERY = 15_000; // a proxy that drops idle sockets does so after 30 s or more
const SILENCE = 25_000; // a ping unanswered this long means the line is dead
const STALE_AFTER = 4_000; // a shorter gap is not worth an alarm
const BACKOFF = [500, 1_000, 2_000, 4_000, 8_000, 15_000];
const SIGNED_OUT = 4401;

export class LiveSocket {
  constructor(address, topics, place) {
    this.address = address;
    this.topics = topics;
    this.place = place; // { sequence, epoch, at }
    this.failures = 0;
    this.heardAt = Date.now();
    this.timers = [];
  }

  open() {
    this.state("connecting");
    this.socket = new WebSocket(this.address);
    this.socket.onopen = () => this.subscribe();
    this.socket.onmessage = (event) => this.take(JSON.parse(event.data));
    this.socket.onclose = (event) => this.closed(event.code);
    clearTimeout(this.alarm);
    this.alarm = setTimeout(() => this.isLive || this.state("stale"), STALE_AFTER);
  }

  subscribe() {
    this.reconnected = this.wasLive === true;
    this.send({ op: "subscribe", topics: this.topics, ...this.place });
    this.pinging = setInterval(() => this.check(), PING_EVERY);
  }

  send(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  take(message) {
    this.heardAt = Date.now();
    if (message.op === "pong") return;
    if (message.op === "error") return console.error("live:", message.error);
    this.send({ op: "ack", count: 1 });
    this.place = { sequence: message.sequence, epoch: message.epoch, at: message.at };
    this.failures = 0;
    tell("delta", message);
    if (message.op === "snapshot") tell("resync", message);
    this.isLive = this.wasLive = true;
    this.state("live");
  }

  check() {
    if (Date.now() - this.heardAt > SILENCE) return this.socket.close();
    this.send({ op: "ping" });
  }

  closed(code) {
    clearInterval(this.pinging);
    this.isLive = false;
    if (code === SIGNED_OUT) {
      this.state("signed-out");
      return location.assign(`/login/?next=${encodeURIComponent(location.pathname + location.search)}`);
    }
    this.state(this.failures > 1 ? "stale" : "connecting");
    // Spread out: after a restart not every browser comes back in the same moment.
    const wait = BACKOFF[Math.min(this.failures++, BACKOFF.length - 1)];
    clearTimeout(this.retry);
    this.retry = setTimeout(() => this.open(), wait * (0.5 + Math.random()));
  }

  // Come back at once when the browser has reason to think that it can.
  hurry() {
    if (this.isLive || this.socket?.readyState === WebSocket.CONNECTING) return;
    clearTimeout(this.retry);
    this.open();
  }

  state(name) {
    tell("state", { name, since: this.heardAt });
  }
}
