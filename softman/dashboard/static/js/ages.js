// Keeps "5 minutes ago" true while the page is open, in the words of softman/dashboard/text.py.
const UNITS = [[60, 1, "second"], [3600, 60, "minute"], [86400, 3600, "hour"], [86400 * 60, 86400, "day"]];
const EVERY = 20;

function ago(at) {
  const past = Date.now() / 1000 - at;
  if (Math.abs(past) < 5) return "just now";
  for (const [limit, unit, name] of UNITS) {
    if (Math.abs(past) < limit) {
      const count = Math.floor(Math.abs(past) / unit);
      const said = `${count} ${name}${count === 1 ? "" : "s"}`;
      return past > 0 ? `${said} ago` : `in ${said}`;
    }
  }
  return null;
}

export function startAges() {
  setInterval(() => {
    for (const element of document.querySelectorAll("time[data-age]")) {
      const said = ago(Date.parse(element.dateTime) / 1000);
      if (said && element.textContent !== said) element.textContent = said;
    }
  }, EVERY * 1000);
}
