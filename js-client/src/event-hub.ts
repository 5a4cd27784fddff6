import { notify } from "./notices.js";
import type { EngineEventName, EngineEvents, EngineListener } from "./types/events.js";
import { invalidParam } from "./wire-errors.js";

type Listener = (event: never) => void;

const NAMES: Readonly<Record<EngineEventName, true>> = {
  "worker:status": true,
  "model:loaded": true,
  "model:unloaded": true,
  "model:invalidated": true,
  "generation:started": true,
  "generation:ended": true,
};

/** The listeners of an engine's events. */
export class EventHub {
  /** By event: listeners in the order in which they came, and whether they are called only once. */
  readonly #listeners = new Map<EngineEventName, Map<Listener, boolean>>();

  /** @throws InvalidParamsError for an unknown event or what is no function */
  add<Name extends EngineEventName>(name: Name, listener: EngineListener<Name>, once: boolean): void {
    if (!Object.hasOwn(NAMES, name)) {
      throw invalidParam("event", `on: unknown event ${JSON.stringify(name)}`, Object.keys(NAMES).join(", "));
    }
    if (typeof listener !== "function") throw invalidParam("listener", "on: the listener is not a function");
    const listeners = this.#listeners.get(name) ?? new Map<Listener, boolean>();
    this.#listeners.set(name, listeners.set(listener, once));
  }

  remove<Name extends EngineEventName>(name: Name, listener: EngineListener<Name>): void {
    this.#listeners.get(name)?.delete(listener);
  }

  /** Calls the listeners of an event with its payload and the time. */
  emit<Name extends EngineEventName>(name: Name, event: Omit<EngineEvents[Name], "timestamp">): void {
    const listeners = this.#listeners.get(name);
    if (listeners === undefined || listeners.size === 0) return;
    const stamped = { ...event, timestamp: Date.now() } as EngineEvents[Name];
    for (const [listener, once] of [...listeners]) {
      if (once) listeners.delete(listener);
      notify(listener as EngineListener<Name>, stamped);
    }
  }
}
