// What is drawn: the row of switches under the picture. Remembered on this device.

const SWITCHES = ["masks", "boxes", "labels", "trails", "zones"];
const DEFAULTS = { masks: true, boxes: false, labels: true, trails: false, zones: true, server: false, opacity: 0.45, minScore: 0 };
const STORED = "display";

export class Display {
  #root;
  #onChange;
  #values = { ...DEFAULTS, ...stored() };
  #hidden = new Set(); // labels
  #labels = new Map(); // label -> button

  // onChange(name): somebody changed that setting ("labels-shown": the classes).
  constructor(root, onChange) {
    this.#root = root;
    this.#onChange = onChange;
    for (const name of [...SWITCHES, "server"]) this.#switch(name).addEventListener("click", () => this.toggle(name));
    this.#range("opacity", (value) => `${Math.round(100 * value)}%`);
    this.#range("minScore", (value) => (value ? `≥ ${Math.round(100 * value)}%` : "all"));
    this.#draw();
  }

  get masks() { return this.#values.masks; }
  get boxes() { return this.#values.boxes; }
  get labels() { return this.#values.labels; }
  get trails() { return this.#values.trails; }
  get zones() { return this.#values.zones; }
  get server() { return this.#values.server; } // masks are to be drawn by the server
  get opacity() { return this.#values.opacity; }

  toggle(name) {
    if (this.#switch(name).disabled || this.#switch(name).hidden) return;
    this.#set(name, !this.#values[name]);
    this.#draw();
  }

  // Whether a track passes the filters.
  shows({ label, score }) {
    return score >= this.#values.minScore && !this.#hidden.has(label);
  }

  // The classes there are: each gets a button once it was seen.
  meet(tracks) {
    for (const { label } of tracks) if (!this.#labels.has(label)) this.#addLabel(label);
  }

  forget() {
    for (const button of this.#labels.values()) button.remove();
    this.#labels.clear();
    this.#hidden.clear();
  }

  // Without data about the picture that is shown only the server can draw.
  limit({ drawnHere, canDrawHere, anyZones }) {
    for (const name of SWITCHES) this.#switch(name).disabled = !drawnHere;
    this.#root.querySelector("#opacity").disabled = !drawnHere;
    this.#switch("server").hidden = !canDrawHere;
    this.#switch("zones").hidden = !anyZones;
  }

  #addLabel(label) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "pill";
    button.textContent = label;
    button.setAttribute("aria-pressed", "true");
    button.addEventListener("click", () => {
      const hide = !this.#hidden.has(label);
      if (hide) this.#hidden.add(label);
      else this.#hidden.delete(label);
      button.setAttribute("aria-pressed", String(!hide));
      this.#onChange("labels-shown");
    });
    this.#labels.set(label, button);
    const classes = this.#root.querySelector("#classes");
    const after = [...classes.children].find((other) => other.textContent > label);
    classes.insertBefore(button, after ?? null);
  }

  #switch(name) {
    return this.#root.querySelector(`[data-switch="${name}"]`);
  }

  #range(name, words) {
    const input = this.#root.querySelector(`#${name}`);
    const output = this.#root.querySelector(`output[for="${name}"]`);
    const show = () => {
      output.textContent = words(this.#values[name]);
      input.setAttribute("aria-valuetext", output.textContent);
    };
    input.value = String(this.#values[name]);
    show();
    input.addEventListener("input", () => {
      this.#set(name, Number(input.value));
      show();
    });
  }

  #set(name, value) {
    this.#values[name] = value;
    try {
      localStorage.setItem(STORED, JSON.stringify(this.#values));
    } catch {
      // Without storage it lasts as long as the page.
    }
    this.#onChange(name);
  }

  #draw() {
    for (const name of [...SWITCHES, "server"]) this.#switch(name).setAttribute("aria-pressed", String(this.#values[name]));
  }
}

function stored() {
  try {
    const found = JSON.parse(localStorage.getItem(STORED) ?? "{}");
    return Object.fromEntries(Object.entries(found).filter(([name, value]) => typeof value === typeof DEFAULTS[name]));
  } catch {
    return {};
  }
}
