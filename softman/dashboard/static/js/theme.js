// The switch between light and dark. A cookie remembers it, so that the server sends the right page at once.
const YEAR = 365 * 24 * 3600;

function current() {
  return document.documentElement.dataset.theme
    || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
}

export function startTheme() {
  const button = document.querySelector("[data-theme-toggle]");
  const name = () => { button.setAttribute("aria-label", `Switch to ${current() === "dark" ? "light" : "dark"} colours`); };
  if (!button) return;
  name();
  button.addEventListener("click", () => {
    const theme = current() === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    const secure = location.protocol === "https:" ? "; Secure" : "";
    document.cookie = `theme=${theme}; Path=/; Max-Age=${YEAR}; SameSite=Lax${secure}`;
    name();
  });
}
