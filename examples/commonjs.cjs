// The same package from CommonJS.
const { createEngine } = require("mlx-worker");

async function main() {
  const localPath = process.argv[2] ?? process.env.MODEL;
  if (localPath === undefined) {
    console.error(
      "Which model? node commonjs.cjs PATH, or MODEL=PATH: a .gguf file or a Hugging Face folder",
    );
    process.exitCode = 2;
    return;
  }

  const engine = createEngine();
  try {
    const model = await engine.loadModel({ model: "my-model", localPath });
    const messages = [{ role: "user", content: "What is the capital of France?" }];
    const { text } = await engine.generate({ model, messages, maxTokens: 64, temperature: 0 });
    console.log(text);
  } finally {
    await engine.close();
  }
}

main();
