// The token that a server may ask for: shown once, after which a cookie says that it was.

export class SignIn {
  #dialog;
  #onSignedIn;

  // onSignedIn(): the server has taken the token.
  constructor(dialog, onSignedIn) {
    this.#dialog = dialog;
    this.#onSignedIn = onSignedIn;
    dialog.querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    // Nothing can be watched without: Escape would leave an empty page.
    dialog.addEventListener("cancel", (event) => event.preventDefault());
  }

  ask() {
    if (!this.#dialog.open) this.#dialog.showModal();
  }

  async #submit() {
    const input = this.#dialog.querySelector("input");
    const wrong = this.#dialog.querySelector("[role=alert]");
    wrong.textContent = "";
    try {
      // Header values are bytes: whatever else is typed cannot be a token.
      const token = input.value.trim().replaceAll(/[^\x21-\x7e]/g, "?");
      const response = await fetch("/session", { method: "POST", headers: { Authorization: `Bearer ${token}` } });
      if (response.ok) {
        input.value = "";
        this.#dialog.close();
        this.#onSignedIn();
      } else {
        wrong.textContent = response.status === 429
          ? "Too many requests. Try again in a while."
          : "The server does not know this token.";
        input.select();
      }
    } catch {
      wrong.textContent = "The server does not answer.";
    }
  }
}
