// Runs electron-main.mjs under plain Node.js, with stand-ins for Electron's app, ipcMain and a window.
import { EventEmitter, once } from "node:events";
import { serveModel } from "./electron-main.mjs";

const localPath = process.argv[2] ?? process.env.MODEL;
if (localPath === undefined) {
  console.error(
    "Which model? node electron-main.run.mjs PATH, or MODEL=PATH: a .gguf file or a Hugging Face folder",
  );
  process.exit(2);
}

const app = Object.assign(new EventEmitter(), {
  quit() {
    let prevented = false;
    app.emit("before-quit", { preventDefault: () => (prevented = true) });
    if (!prevented) app.emit("quit");
  },
});
const ipcMain = new EventEmitter();
const received = new EventEmitter();
const sender = Object.assign(new EventEmitter(), {
  isDestroyed: () => false,
  /** @param {string} channel @param {unknown[]} args */
  send: (channel, ...args) => received.emit(channel, ...args),
});
serveModel({ app, ipcMain, localPath });

/** @param {string} id @param {string} content */
function ask(id, content) {
  ipcMain.emit("generate", { sender }, id, [{ role: "user", content }]);
}

received.on("generate:text", (_id, text) => process.stdout.write(text));
ask("1", "What is the capital of France?");
const [, end] = await once(received, "generate:end");
console.log(`\nend: ${end.usage.completionTokens} tokens`);

ask("2", "Tell me a long story about a lighthouse.");
await once(received, "generate:text");
ipcMain.emit("generate:stop", { sender }, "2");
const [, stopped] = await once(received, "generate:end");
console.log(`\nend: ${stopped.error}`);

const quit = once(app, "quit");
app.quit();
await quit;
console.log("quit");
