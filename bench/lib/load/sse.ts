/**
 * Reads server-sent events from pieces of a response, wherever they were cut. Comments (`: …`) and fields other
 * than `data` are skipped.
 */
export class EventStreamParser {
  #rest = "";
  #data: string[] = [];

  /** The data of the events that are complete with this piece. */
  push(piece: string): string[] {
    const lines = (this.#rest + piece).split("\n");
    this.#rest = lines.pop() ?? "";
    const events: string[] = [];
    for (const raw of lines) {
      const line = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
      if (line === "") {
        if (this.#data.length > 0) events.push(this.#data.join("\n"));
        this.#data = [];
      } else if (line.startsWith("data:")) {
        this.#data.push(line.slice("data:".length).replace(/^ /, ""));
      }
    }
    return events;
  }
}
