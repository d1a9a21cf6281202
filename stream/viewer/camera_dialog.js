// Add a camera, or remove one. It needs the administrator's token, which is kept for as long as the page is open.

const MISSING = "This server does not let cameras be added or removed while it runs.";

export class CameraDialog {
  #add;
  #remove;
  #token = "";
  #removing = null;
  #onAdded;
  #onRemoved;
  #say;

  // onAdded(name), onRemoved(name): the server has done it. say(text): tell those who do not see.
  constructor(add, remove, { onAdded, onRemoved, say }) {
    this.#add = add;
    this.#remove = remove;
    this.#onAdded = onAdded;
    this.#onRemoved = onRemoved;
    this.#say = say;
    for (const dialog of [add, remove]) {
      dialog.querySelector("[data-part=cancel]").addEventListener("click", () => dialog.close());
    }
    add.querySelector("form").addEventListener("submit", (event) => this.#submit(event, add, () => this.#create()));
    remove.querySelector("form").addEventListener("submit", (event) => this.#submit(event, remove, () => this.#delete()));
  }

  add() {
    this.#open(this.#add);
  }

  remove(name) {
    this.#removing = name;
    this.#remove.querySelector("[data-part=name]").textContent = name;
    this.#open(this.#remove);
  }

  #open(dialog) {
    dialog.querySelector("[role=alert]").textContent = "";
    dialog.querySelector("[name=token]").value = this.#token;
    dialog.showModal();
  }

  async #submit(event, dialog, ask) {
    event.preventDefault();
    const [wrong, button] = [dialog.querySelector("[role=alert]"), dialog.querySelector("[type=submit]")];
    // Header values are bytes: whatever else is typed cannot be a token.
    this.#token = dialog.querySelector("[name=token]").value.trim().replaceAll(/[^\x21-\x7e]/g, "?");
    wrong.textContent = "";
    button.disabled = true;
    try {
      wrong.textContent = await ask();
      if (!wrong.textContent) dialog.close();
    } catch {
      wrong.textContent = "The server does not answer.";
    }
    button.disabled = false;
  }

  // Both answer what is wrong, in words; nothing where nothing is.
  async #create() {
    const form = new FormData(this.#add.querySelector("form"));
    const name = form.get("name").trim();
    const labels = form.get("labels").split(",").map((label) => label.trim()).filter(Boolean);
    const body = { name, url: form.get("url").trim(), ...(labels.length ? { labels } : {}) };
    const response = await this.#ask("POST", "/api/cameras", body);
    if (!response.ok) return wrongOf(response);
    this.#add.querySelector("form").reset();
    this.#say(`Camera ${name} was added`);
    this.#onAdded(name);
    return "";
  }

  async #delete() {
    const name = this.#removing;
    const response = await this.#ask("DELETE", `/api/cameras/${encodeURIComponent(name)}`);
    if (!response.ok && response.status !== 404) return wrongOf(response);
    this.#say(`Camera ${name} was removed`);
    this.#onRemoved(name);
    return "";
  }

  #ask(method, path, body) {
    const headers = { Authorization: `Bearer ${this.#token}` };
    if (body) headers["Content-Type"] = "application/json";
    return fetch(path, { method, headers, body: body && JSON.stringify(body), signal: AbortSignal.timeout(15000) });
  }
}

async function wrongOf(response) {
  if (response.status === 404 || response.status === 405) return MISSING;
  if (response.status === 401) return "The server does not know this token.";
  if (response.status === 403) return "This token does not allow to add or remove cameras.";
  const { detail } = await response.json().catch(() => ({}));
  if (typeof detail === "string") return detail;
  // FastAPI's own form of what is wrong with a body.
  const first = Array.isArray(detail) ? detail[0] : null;
  return first ? `${(first.loc ?? []).slice(1).join(".")}: ${first.msg}` : `The server refuses it (${response.status}).`;
}
