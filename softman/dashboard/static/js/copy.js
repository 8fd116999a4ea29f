// Buttons that copy the <code> beside them: data-copy.
import { toast } from "./toasts.js";

async function copy(button) {
  const text = button.parentElement.querySelector("code").textContent;
  const label = button.querySelector("span");
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    toast("Your browser does not let this page copy", "Select the text and copy it yourself.");
    return;
  }
  if (!label) {
    toast("Copied");
    return;
  }
  const before = label.textContent;
  label.textContent = "Copied";
  setTimeout(() => { label.textContent = before; }, 1600);
}

export function startCopying() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) copy(button);
  });
}
