// <cast-player>: the recording of one attempt, fetched in pieces and played by asciinema-player; it and the conversation
// know each other's place by the marks of the page.
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

  async load() {
    const decoder = new TextDecoder();
    let offset = 0;
    this.text = "";
    for (;;) {
      const answer = await fetch(`${this.dataset.url}?offset=${offset}`);
      if (answer.redirected) throw new Error("You are signed out.");
      if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).error ?? `The recording cannot be read (${answer.status}).`);
      this.text += decoder.decode(await answer.arrayBuffer(), { stream: true });
      offset = Number(answer.headers.get("X-Next"));
      if (answer.headers.get("X-End") === "1" || offset > MOST_BYTES) break;
      this.say(`${(offset / 1_000_000).toFixed(1)} MB`);
    }
    // A running program may be in the middle of a line.
    this.text = this.text.slice(0, this.text.lastIndexOf("\n") + 1);
    if (this.text.split("\n", 3).length < 3) throw new Error("It has written nothing.");
    this.end = JSON.parse(this.text.slice(this.text.lastIndexOf("\n", this.text.length - 2) + 1))[0] ?? 0;
    this.say(offset > MOST_BYTES ? "Only the first 64 MB are played." : "");
  }

  // The player is made anew for another speed: marks are how both know where they are.
  play(message) {
    const playing = this.player !== undefined;
    this.player?.dispose();
    const markers = this.marks.map(([seconds, label]) => [Math.min(seconds, this.end), label]);
    this.player = AsciinemaPlayer.create({ data: this.text }, this.screen, {
      speed: Number(this.speed.value),
      idleTimeLimit: Number(this.idle.value) || undefined,
      markers,
      fit: "width",
      preload: true,
      poster: message ? undefined : "npt:0:03",
      controls: true,
      theme: "stratavore",
      terminalFontFamily: getComputedStyle(document.body).getPropertyValue("--mono"),
    });
    this.player.addEventListener("marker", ({ index }) => this.passed(index));
    if (message) this.seek(message).then(() => playing && this.player.play());
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
