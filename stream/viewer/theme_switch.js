// Dark or light: the other one, remembered on this device (theme.js applies it before the first paint).

export function toggleTheme() {
  const dark = getComputedStyle(document.documentElement).colorScheme === "dark";
  document.documentElement.dataset.theme = dark ? "light" : "dark";
  try {
    localStorage.setItem("theme", document.documentElement.dataset.theme);
  } catch {
    // Without storage the choice lasts as long as the page.
  }
}
