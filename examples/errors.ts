// What goes wrong is a typed error; a worker that dies is replaced.
import {
  ContextLengthExceededError,
  createEngine,
  InvalidParamsError,
  MlxWorkerError,
  ModelLoadError,
  ModelNotLoadedError,
  WorkerCrashedError,
} from "mlx-worker";

const localPath = process.argv[2] ?? process.env.MODEL;
if (localPath === undefined) {
  console.error("Which model? tsx errors.ts PATH, or MODEL=PATH: a .gguf file or a Hugging Face folder");
  process.exit(2);
}

const engine = createEngine({ autoReload: true });

/** One line about an error, by its class or, for those without one of their own, by its kind. */
function explain(error: unknown): string {
  if (error instanceof InvalidParamsError) return `parameter ${error.param} is wrong`;
  if (error instanceof ModelLoadError) return "this model cannot be loaded";
  if (error instanceof ModelNotLoadedError) return "load the model first";
  if (error instanceof ContextLengthExceededError)
    return `${error.promptTokens} tokens do not fit into ${error.limit}`;
  if (error instanceof WorkerCrashedError) return `the worker was ended by ${error.signal ?? error.exitCode}`;
  if (error instanceof MlxWorkerError) return `${error.kind} (${error.code ?? "client"})`;
  throw error; // no error of this package: an abort's reason, or a bug
}

async function attempt(what: string, call: () => PromiseLike<unknown>): Promise<void> {
  try {
    await call();
    console.log(`${what}: ok`);
  } catch (error) {
    console.log(`${what}: ${explain(error)}`);
  }
}

await attempt("a folder that is not there", () =>
  engine.loadModel({ model: "none", localPath: "./nowhere" }),
);
await attempt("a model that nobody loaded", () => engine.generate({ model: "none", prompt: "Hi" }));

const model = await engine.loadModel({ model: "my-model", localPath, contextLength: 64 });
await attempt("a hot model", () => engine.generate({ model, prompt: "Hi", temperature: 9 }));
await attempt("a long prompt", () => engine.generate({ model, prompt: "word ".repeat(100) }));

const { pid } = await engine.runtimeInfo();
await attempt("a worker that dies", async () => {
  const answer = engine.generate({ model, prompt: "Once upon a time", ignoreEos: true });
  await answer[Symbol.asyncIterator]().next(); // the first chunk: it runs
  process.kill(pid, "SIGKILL"); // as a fault of the GPU would
  await answer;
});
// autoReload: the next call starts a worker, which has the model again. Nothing is generated twice by itself.
await attempt("the call after it", () => engine.generate({ model, prompt: "Hi", maxTokens: 8 }));
await engine.close();
await attempt("a call after close()", () => engine.generate({ model, prompt: "Hi" }));
