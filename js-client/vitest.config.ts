import { defineConfig } from "vitest/config";

// "unit" runs without the worker (a scripted stand-in speaks the protocol); "e2e" needs the built worker
// and the test model (`make build model`) and fails when either is missing.
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: ["test/unit/**/*.test.ts", "test/fake/**/*.test.ts", "test/cli/*.test.ts"],
          testTimeout: 30_000,
          typecheck: {
            enabled: true,
            include: ["test/types/**/*.test-d.ts"],
            tsconfig: "test/tsconfig.json",
          },
        },
      },
      {
        test: {
          name: "e2e",
          include: ["test/e2e/**/*.test.ts", "test/cli/e2e/**/*.test.ts"],
          globalSetup: ["test/e2e/require-worker.ts"],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
