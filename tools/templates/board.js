// Filters: one verdict and one field at most; a second click lets go. The address remembers them.
const chosen = { verdict: null, field: null };
const buttons = [...document.querySelectorAll("[data-filter]")];
const entries = [...document.querySelectorAll(".entry")];

function apply() {
  for (const button of buttons) {
    button.setAttribute("aria-pressed", chosen[button.dataset.filter] === button.dataset.value);
  }
  let shown = 0;
  for (const entry of entries) {
    const fits = Object.entries(chosen).every(([key, value]) => !value || entry.dataset[key] === value);
    entry.hidden = !fits;
    shown += fits;
  }
  for (const card of document.querySelectorAll(".board-card")) {
    card.hidden = !card.querySelector(".entry:not([hidden])");
  }
  const filtered = chosen.verdict || chosen.field;
  document.getElementById("shown").textContent = filtered ? `${shown} of ${entries.length} rows` : "";
}

function remember() {
  const words = new URLSearchParams(Object.entries(chosen).filter(([, value]) => value)).toString();
  history.replaceState(null, "", words ? `#${words}` : location.pathname);
}

for (const button of buttons) {
  button.addEventListener("click", () => {
    const { filter, value } = button.dataset;
    chosen[filter] = chosen[filter] === value ? null : value;
    apply();
    remember();
  });
}
const asked = new URLSearchParams(location.hash.slice(1));
for (const key of Object.keys(chosen)) {
  if (buttons.some((b) => b.dataset.filter === key && b.dataset.value === asked.get(key))) {
    chosen[key] = asked.get(key);
  }
}
apply();
