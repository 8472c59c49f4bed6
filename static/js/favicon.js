// The tab's icon carries the number of running runners.
import { hear } from "./bus.js";

const icon = document.getElementById("favicon");
const plain = icon.href;

function draw(count) {
  if (!count) return plain;
  const text = count > 99 ? "99+" : String(count);
  const size = text.length > 2 ? 13 : text.length > 1 ? 17 : 20;
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#0c100f"/><text x="16" y="17" text-anchor="middle" dominant-baseline="central" font-family="monospace" font-weight="700" font-size="${size}" fill="#63d594">${text}</text></svg>`;
  return `data:image/svg+xml,${encodeURIComponent(svg)}`;
}

export function showCount(count) {
  icon.href = draw(count);
}

hear("counts", (counts) => showCount(counts.running ?? 0));
