// One event target for the page: modules talk to each other through it and know nothing else of each other.
export const bus = new EventTarget();

export const tell = (name, detail) => bus.dispatchEvent(new CustomEvent(name, { detail }));
export const hear = (name, listener) => bus.addEventListener(name, (event) => listener(event.detail));
