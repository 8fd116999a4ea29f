// Questions before something is done: data-dialog="id" opens <dialog id="id">; a link with it works without scripts.
// A field data-match="name" keeps the dialog's button off until the name is typed.
function guard(form) {
  const field = form.querySelector("[data-match]");
  const button = form.querySelector("button:not([type='button'])");
  if (!field || !button) return;
  const check = () => { button.disabled = field.value.trim() !== field.dataset.match; };
  field.addEventListener("input", check);
  check();
}

export function startDialogs() {
  for (const form of document.querySelectorAll("form")) guard(form);
  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-dialog]");
    const dialog = opener && document.getElementById(opener.dataset.dialog);
    if (dialog) {
      event.preventDefault();
      dialog.showModal();
      dialog.querySelector("[autofocus]")?.focus();
      return;
    }
    if (event.target.closest("[data-close]")) event.target.closest("dialog")?.close();
    else if (event.target instanceof HTMLDialogElement) event.target.close(); // a click beside it
  });
  document.addEventListener("keydown", (event) => { // links that act as buttons answer to the space bar, too
    if (event.key === " " && event.target.matches("a[role='button']")) {
      event.preventDefault();
      event.target.click();
    }
  });
}
