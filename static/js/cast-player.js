// <cast-player>: the recording of one attempt, fetched in pieces and played by asciinema-player; it and the conversation
// know each other's place by the marks of the page. A run that goes on is followed from the end of what it has written:
// on its terminal, or where it has none in what it says.
import { hear } from "./bus.js";

const MOST_BYTES = 64 * 1024 * 1024;
const SPEEDS = [0.5, 1, 2, 4, 8, 16];
const IDLE = [["as it was", 0], ["at most 5 s", 5], ["at most 2 s", 2], ["at most ½ s", 0.5]];

class CastPlayer extends HTMLElement {
  connectedCallback() {
    if (this.screen) return;
    this.innerHTML = `<div class="cast-tools"><label>Speed <select name="speed"></select></label><label>Pauses <select name="idle"></select></label><span class="says dim small" role="status"></span></div><div class="cast-screen"></div>`;
    this.screen = this.querySelector(".cast-screen");
    this.marks = JSON.parse(document.getElementById("replay-marks")?.textContent ?? "[]");
    this.speed = this.choice("speed", SPEEDS.map((speed) => [`${speed}×`, speed]), 1);
    this.idle = this.choice("idle", IDLE, 2);
    document.addEventListener("click", (event) => this.clicked(event));
    this.live = document.querySelector("[data-live]");
    this.offset = 0;
    this.raw = "";
    this.decoder = new TextDecoder();
    hear("row:sessions", ({ row }) => row.id === this.dataset.grows && this.catchUp());
    this.load().then(
      () => this.play(Number(this.dataset.seek)),
      (error) => this.say(error.message, true),
    );
  }

  disconnectedCallback() {
    this.player?.dispose();
  }

  choice(name, options, chosen) {
    const select = this.querySelector(`[name=${name}]`);
    for (const [label, value] of options) select.add(new Option(label, value, false, value === chosen));
    select.addEventListener("change", () => this.play(this.at));
    return select;
  }

  say(text, trouble = false) {
    const place = this.querySelector(".says");
    place.textContent = text;
    place.classList.toggle("trouble", trouble);
    this.classList.toggle("gone", trouble);
  }

  // What was written since the last time; what is drawn comes whole each time.
  async load() {
    if (this.dataset.grows) [this.offset, this.raw] = [0, ""];
    for (;;) {
      const answer = await fetch(`${this.dataset.url}?offset=${this.offset}`);
      if (answer.redirected) throw new Error("You are signed out.");
      if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).error ?? `The recording cannot be read (${answer.status}).`);
      this.raw += this.decoder.decode(await answer.arrayBuffer(), { stream: true });
      this.offset = Number(answer.headers.get("X-Next"));
      if (answer.headers.get("X-End") === "1" || this.offset > MOST_BYTES) break;
      this.say(`${(this.offset / 1_000_000).toFixed(1)} MB`);
    }
    // A running program may be in the middle of a line.
    this.text = this.raw.slice(0, this.raw.lastIndexOf("\n") + 1);
    if (this.text.split("\n", 3).length < 3) throw new Error("It has written nothing.");
    this.end = JSON.parse(this.text.slice(this.text.lastIndexOf("\n", this.text.length - 2) + 1))[0] ?? 0;
    this.say(this.offset > MOST_BYTES ? "Only the first 64 MB are played." : "");
  }

  // The player is made anew for another speed: marks are how both know where they are.
  play(message, startAt = 0) {
    const playing = this.player !== undefined;
    this.player?.dispose();
    const markers = this.marks.map(([seconds, label]) => [Math.min(seconds, this.end), label]);
    this.player = AsciinemaPlayer.create({ data: this.text }, this.screen, {
      speed: Number(this.speed.value),
      idleTimeLimit: Number(this.idle.value) || undefined,
      markers,
      fit: "width",
      preload: true,
      startAt,
      autoPlay: startAt > 0,
      poster: message || startAt ? undefined : "npt:0:03",
      controls: true,
      theme: "stratavore",
      terminalFontFamily: getComputedStyle(document.body).getPropertyValue("--mono"),
    });
    this.player.addEventListener("marker", ({ index }) => this.passed(index));
    this.player.addEventListener("ended", () => (this.live ? this.show(true) : this.catchUp()));
    if (message) this.seek(message).then(() => playing && this.player.play());
  }

  // The terminal in the place of the recording, or the other way round.
  show(live) {
    this.hidden = live;
    this.live.hidden = !live;
  }

  // Whoever has seen it to its end sees what was added since.
  async catchUp() {
    this.wanted = Boolean(this.dataset.grows);
    if (this.catching) return;
    this.catching = true;
    try {
      while (this.wanted && (await this.isAtEnd())) {
        this.wanted = false;
        const seen = this.end;
        await this.load();
        if (this.end > seen) this.play(0, seen);
      }
    } catch (error) {
      this.say(error.message);
    } finally {
      this.catching = false;
    }
  }

  async isAtEnd() {
    if (!this.player) return false;
    const [at, all] = await Promise.all([this.player.getCurrentTime(), this.player.getDuration()]);
    return at >= all - 0.05;
  }

  // To the mark of a message, or the last one before it.
  async seek(message) {
    let found = -1;
    this.marks.forEach(([, , id], index) => id <= message && (found = index));
    if (found < 0) return;
    await this.player.seek({ marker: found });
    this.passed(found);
  }

  passed(index) {
    this.at = this.marks[index][2];
    for (const item of document.querySelectorAll(".message.playing")) item.classList.remove("playing");
    document.getElementById(`m${this.at}`)?.classList.add("playing");
  }

  clicked(event) {
    const way = event.target.closest?.("[data-watch]");
    if (way && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      this.show(way.dataset.watch === "live");
      if (way.dataset.watch === "replay") this.load().then(() => this.play(this.at), (error) => this.say(error.message, true));
      return;
    }
    const link = event.target.closest?.("a[data-seek]");
    if (!link || event.ctrlKey || event.metaKey || !this.player) return;
    const message = Number(link.dataset.seek);
    if (!this.marks.length || message < this.marks[0][2] || message > this.marks.at(-1)[2]) return;
    event.preventDefault();
    this.seek(message);
    document.getElementById("replay").scrollIntoView({ block: "start" });
  }
}

customElements.define("cast-player", CastPlayer);
