// Before the first paint: the theme that was chosen on this device, if any. Otherwise the system's.
(() => {
  try {
    const chosen = localStorage.getItem("theme");
    if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
  } catch {
    // Storage may be switched off; the system's theme is used then.
  }
})();
