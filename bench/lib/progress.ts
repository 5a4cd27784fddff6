/** Where progress goes: a terminal or a plain stream. */
export interface Output {
  write(text: string): unknown;
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
}

const BAR_WIDTH = 24;
const CLEAR_LINE = "\r\u001b[2K";

/**
 * Lines of text with, on a terminal, a progress bar below them. Elsewhere only the lines are written, so that
 * a log stays readable.
 */
export class Progress {
  readonly #output: Output;
  readonly #total: number;
  #done = 0;
  #label = "";

  /** @param total number of steps that make the bar full */
  constructor(output: Output, total: number) {
    this.#output = output;
    this.#total = total;
  }

  /** Writes a line above the bar. */
  line(text = ""): void {
    this.#output.write(`${this.#output.isTTY ? CLEAR_LINE : ""}${text}\n`);
    this.#draw();
  }

  /** Says what is going on now, beside the bar. */
  label(text: string): void {
    this.#label = text;
    this.#draw();
  }

  /** One step is done. */
  advance(): void {
    this.#done++;
    this.#draw();
  }

  /** Takes the bar away. */
  end(): void {
    if (this.#output.isTTY) this.#output.write(CLEAR_LINE);
    this.#label = "";
    this.#done = 0;
  }

  #draw(): void {
    if (!this.#output.isTTY || (this.#done === 0 && this.#label === "")) return;
    const filled = Math.round((this.#done / this.#total) * BAR_WIDTH);
    const bar = "█".repeat(filled) + "░".repeat(BAR_WIDTH - filled);
    const text = `${bar} ${this.#done}/${this.#total}  ${this.#label}`;
    const columns = this.#output.columns || 80;
    this.#output.write(`${CLEAR_LINE}${[...text].slice(0, columns - 1).join("")}`);
  }
}
