// The main process of an Electron application: it owns the engine, windows talk to it by messages.
//
//   import { app, ipcMain } from "electron";
//   serveModel({ app, ipcMain, localPath });
import { createEngine } from "mlx-worker";

/**
 * @typedef {object} Options
 * @property {Pick<NodeJS.EventEmitter, "on"> & { quit(): void }} app of Electron
 * @property {Pick<NodeJS.EventEmitter, "on">} ipcMain of Electron
 * @property {string} localPath of the model
 */

/** @param {Options} options */
export function serveModel({ app, ipcMain, localPath }) {
  const engine = createEngine({ autoReload: true });
  const load = () => engine.loadModel({ model: "my-model", localPath });
  /** @type {Map<string, AbortController>} */
  const running = new Map();

  ipcMain.on("generate", async (event, id, messages) => {
    const stop = new AbortController();
    const leave = () => stop.abort();
    running.set(id, stop);
    event.sender.once("destroyed", leave); // the window was closed
    try {
      const model = await load(); // at once if it is loaded
      const answer = engine.generate(
        { model, messages, maxTokens: 256, temperature: 0 },
        { signal: stop.signal },
      );
      for await (const { text } of answer) event.sender.send("generate:text", id, text);
      const { usage } = await answer;
      event.sender.send("generate:end", id, { usage });
    } catch (error) {
      // Only what can be cloned passes between processes.
      const message = error instanceof Error ? error.message : String(error);
      if (!event.sender.isDestroyed()) event.sender.send("generate:end", id, { error: message });
    } finally {
      running.delete(id);
      event.sender.removeListener("destroyed", leave);
    }
  });

  ipcMain.on("generate:stop", (_event, id) => running.get(id)?.abort(new Error("stopped")));

  let closed = false;
  app.on("before-quit", async (event) => {
    if (closed) return;
    event.preventDefault(); // quit when the worker is gone
    for (const stop of running.values()) stop.abort(new Error("quitting"));
    await engine.close();
    closed = true;
    app.quit();
  });
}
