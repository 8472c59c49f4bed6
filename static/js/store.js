// What the page knows of runners, nodes and sessions: the newest values by id. Views listen, and ask nothing else.
import { hear, tell } from "./bus.js";

const kinds = { runners: new Map(), nodes: new Map(), sessions: new Map() };

function merge(kind, part, whole) {
  const known = kinds[kind].get(part.id);
  const row = { ...known, ...part };
  kinds[kind].set(part.id, row);
  tell(`row:${kind}`, { row, part, before: known, whole });
}

hear("delta", (message) => {
  for (const row of message.rows ?? []) merge("runners", row, true);
  for (const part of message.observed ?? []) merge("runners", part, false);
  for (const row of message.nodes ?? []) merge("nodes", row, true);
  for (const row of message.sessions ?? []) merge("sessions", row, true);
  if (message.counts) tell("counts", message.counts);
  for (const row of message.events ?? []) tell("event", row);
});

export const known = (kind, id) => kinds[kind].get(id);
