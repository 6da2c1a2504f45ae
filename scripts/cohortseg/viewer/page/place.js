// The sample and the place in the address's hash: #sample=a&x=120&y=80&zoom=1.5 (centre in image px, screen px a px).

/** Take the token out of the address: the server's cookie stands for it now, and addresses are shared. */
export function dropToken() {
  if (location.search) history.replaceState(null, "", location.pathname + location.hash);
}

/** Return {sample, x, y, zoom} of the address; what is not there, or no number, is null. */
export function readPlace() {
  const given = new URLSearchParams(location.hash.slice(1));
  const number = (key) => (given.has(key) && Number.isFinite(Number(given.get(key))) ? Number(given.get(key)) : null);
  const zoom = number("zoom");
  return { sample: given.get("sample"), x: number("x"), y: number("y"), zoom: zoom > 0 ? zoom : null };
}

/** Write the place; a new sample is a new step of the browser's history, a move is not. */
export function writePlace({ sample, x, y, zoom }, { step = false } = {}) {
  const given = new URLSearchParams({ sample });
  if (zoom) {
    given.set("x", x.toFixed(1));
    given.set("y", y.toFixed(1));
    given.set("zoom", String(Number(zoom.toPrecision(4))));
  }
  const hash = `#${given}`;
  if (hash === location.hash) return;
  history[step ? "pushState" : "replaceState"](null, "", hash);
}
