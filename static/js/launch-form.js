// <launch-form>: show the fields that the chosen program uses. Without it all fields stand there, and work.
class LaunchForm extends HTMLElement {
  connectedCallback() {
    this.addEventListener("change", () => this.show());
    this.show();
  }

  show() {
    const chosen = this.querySelector("input[name=backend]:checked");
    if (!chosen) return;
    const { prompt, command, flags } = chosen.dataset;
    this.field("command").hidden = command !== "yes";
    this.field("prompt").hidden = prompt === "none" || command === "yes";
    this.field("model").hidden = command === "yes";
    this.field("flags").hidden = !flags;
    const runtime = this.querySelector("select[name=runtime]");
    for (const name of runtime ? ["image", "network"] : []) this.field(name).hidden = runtime.value !== "container";
    const hint = this.querySelector("[data-flags-hint]");
    hint.hidden = !flags;
    hint.textContent = flags ? `Flags it takes: ${flags.split(" ").join(", ")}` : "";
  }

  field(name) {
    return this.querySelector(`[data-field-name="${name}"]`);
  }
}

customElements.define("launch-form", LaunchForm);
