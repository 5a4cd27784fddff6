import { createInterface } from "node:readline";
import { type Io, isFancy } from "../io.js";

/** What the user says: messages and commands, each of one or several lines. */
export interface ChatInput extends AsyncIterable<string> {
  /** A person types; otherwise it is a pipe or a file. */
  readonly interactive: boolean;
  /** Sets what happens on Ctrl-C. */
  onInterrupt(listener: () => void): void;
  /** Drops what was typed so far and prompts again. */
  discard(): void;
  close(): void;
}

const FENCE = '"""';

/** Joins lines to messages: a `\` at the end goes on, `"""` brackets several lines. */
class MessageLines {
  #lines: string[] | undefined;
  #fenced = false;

  /** Whether a message has begun that is not complete. */
  get open(): boolean {
    return this.#lines !== undefined;
  }

  /** Takes a line; returns the message that it completes. */
  push(text: string): string | undefined {
    if (text.trim() === FENCE && (this.#fenced || !this.open)) {
      this.#fenced = !this.#fenced;
      if (this.#fenced) this.#lines = [];
      else return this.end();
      return undefined;
    }
    const goesOn = !this.#fenced && text.endsWith("\\");
    this.#lines = [...(this.#lines ?? []), goesOn ? text.slice(0, -1) : text];
    return this.#fenced || goesOn ? undefined : this.end();
  }

  /** Ends the message that is open and returns it. */
  end(): string | undefined {
    const text = this.#lines?.join("\n");
    this.#lines = undefined;
    this.#fenced = false;
    return text;
  }
}

/** Reads messages from a terminal with line editing and prompts, or from anything else without. */
export function readInput(io: Io): ChatInput {
  const interactive = io.stdin.isTTY === true && io.stdout.isTTY === true;
  const lines = new MessageLines();
  const reader = createInterface({
    input: io.stdin,
    ...(interactive
      ? { output: io.stdout, terminal: true }
      : { terminal: false, crlfDelay: Number.POSITIVE_INFINITY }),
  });
  // Lines that were read before the end are still to come then. Node 24 refuses calls of a closed reader, older ones
  // would prompt once more.
  let closed = false;
  reader.once("close", () => {
    closed = true;
  });
  const prompt = (): void => {
    if (!interactive || closed) return;
    const text = lines.open ? "… " : "> ";
    reader.setPrompt(isFancy(io.stdout, io.env) ? `\u001b[1m${text}\u001b[22m` : text);
    reader.prompt();
  };
  const offProcess: (() => void)[] = [];
  return {
    interactive,
    async *[Symbol.asyncIterator]() {
      prompt();
      for await (const text of reader) {
        const message = lines.push(text);
        if (message !== undefined) yield message;
        prompt();
      }
      const rest = lines.end();
      if (rest !== undefined && rest !== "") yield rest;
    },
    onInterrupt(listener) {
      // A terminal in raw mode sends a character, everything else a signal.
      reader.on("SIGINT", listener);
      offProcess.push(io.onInterrupt(listener));
    },
    discard() {
      lines.end();
      if (closed) return;
      // As Ctrl-E, Ctrl-U: there is no call for it.
      reader.write(null, { ctrl: true, name: "e" });
      reader.write(null, { ctrl: true, name: "u" });
      prompt();
    },
    close() {
      for (const off of offProcess) off();
      reader.close();
    },
  };
}
