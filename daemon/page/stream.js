// Server-sent events of any request, as they come. Not EventSource: it sends no key and no body.
import { Problem, send } from "./api.js";

// Yields {name, data}; ends when the server does.
export async function* events(path, { body, signal } = {}) {
  const answer = await send(path, { body, signal, accept: "text/event-stream" });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const blocks = (rest + value).split(/\r?\n\r?\n/);
      rest = blocks.pop();
      for (const block of blocks) {
        const lines = block.split(/\r?\n/);
        const field = (name) => lines.filter((line) => line.startsWith(name + ":")).map((line) => line.slice(name.length + 1).trimStart()).join("\n");
        if (field("data")) yield { name: field("event"), data: JSON.parse(field("data")) };
      }
    }
  } finally {
    reader.cancel().catch(() => {}); // whoever stops listening lets the server stop too
  }
}

// What an event "problem" tells.
export const problemOf = (data) => new Problem(data);
export const BROKE_OFF = "The answer broke off";
