// Keys of the page, and the dialog that lists them.

import { element } from "./dom.js";

const TEXT_TYPES = new Set(["text", "search", "number"]);
const OWN_KEYS = new Set(["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "PageUp", "PageDown", "Home", "End", "Enter", " "]);

/** Say whether the element that has the focus needs this key itself. */
function isTaken(event) {
  const at = event.target;
  if (at.closest?.("dialog")) return true;
  if (at.tagName === "SELECT" || at.tagName === "TEXTAREA") return true;
  if (at.tagName === "INPUT") return TEXT_TYPES.has(at.type) || OWN_KEYS.has(event.key);
  if (at.tagName === "BUTTON") return event.key === "Enter" || event.key === " " || (at.role === "tab" && OWN_KEYS.has(event.key));
  return false;
}

/**
 * Listen to keys. Each binding is {keys, shown, does, act}: the values of `event.key`, the keys as they are written,
 * what they do in words, and the action.
 */
export function listenToKeys(bindings) {
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && event.target.tagName === "INPUT") {
      event.target.blur();
      return;
    }
    const undo = (event.ctrlKey || event.metaKey) && !event.shiftKey && event.key.toLowerCase() === "z";
    if (event.altKey || ((event.ctrlKey || event.metaKey) && !undo) || isTaken(event)) return;
    const key = undo ? "Undo" : event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const binding = bindings.find(({ keys }) => keys.includes(key));
    if (!binding) return;
    event.preventDefault();
    binding.act(key, event);
  });
}

/** Fill the dialog with the list of keys; return what opens it. */
export function helpDialog(dialog, bindings) {
  const rows = bindings.map(({ shown, does }) => element("tr", {},
    element("td", {}, ...shown.flatMap((key, i) => [i ? " " : "", element("kbd", {}, key)])), element("td", {}, does)));
  dialog.append(
    element("div", { class: "heading" }, element("h2", { id: "help-title" }, "Keys"),
      element("button", { type: "button", class: "icon", "aria-label": "Close", onclick: () => dialog.close() }, "×")),
    element("p", {}, "Drag to move, wheel or pinch to zoom, point at a cell for its measurements, click it to choose and flag it."),
    element("table", {}, element("tbody", {}, ...rows)),
    element("p", { class: "quiet" }, "Flags are saved at once to results/cohort/flags.tsv. The address of this page holds the sample and the place."),
  );
  return () => dialog.showModal();
}
