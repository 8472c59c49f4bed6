// Put a row's values where the server's template named them: data-field="cpu" is text, data-field-href="url" the
// attribute href, and data-field-status, -word become data-status, data-word.
const DATA = new Set(["status", "word"]);

export function fill(root, values) {
  for (const element of [root, ...root.querySelectorAll("*")]) {
    for (const [key, name] of Object.entries(element.dataset)) {
      if (!key.startsWith("field") || !(name in values)) continue;
      put(element, key.slice(5).toLowerCase(), values[name] ?? "");
    }
  }
}

function put(element, target, value) {
  const text = String(value);
  if (target === "") {
    if (element.textContent !== text) element.textContent = text;
  } else if (target === "point") {
    element.add?.(value);
  } else {
    const attribute = DATA.has(target) ? `data-${target}` : target;
    if (element.getAttribute(attribute) !== text) element.setAttribute(attribute, text);
  }
}

// Make a new element from the <template> that holds the server's own partial.
export function stamp(template, values) {
  const element = template.content.firstElementChild.cloneNode(true);
  element.dataset.id = values.id;
  fill(element, values);
  return element;
}

export function flash(element) {
  element.classList.remove("fresh");
  requestAnimationFrame(() => element.classList.add("fresh"));
}
