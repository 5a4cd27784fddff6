import { type Command, defineCommand } from "../command.js";
import { examine } from "../doctor/examine.js";
import { renderFindings } from "../doctor/report.js";
import { ENGINE_FLAGS, expectPositionals, LOAD_FLAGS, loadOptions } from "../engine-flags.js";
import { EXIT, UsageError } from "../exit.js";
import { json, line } from "../io.js";

const DETAILS = `
Prints text to paste into a report: versions, where the worker was looked for, backend, device and memory, and a
self-test of a few seconds with a generated model, or with MODEL. Secrets are not printed. Exit code 1: something
is broken.
`;

const LOAD_FLAG_NAMES = Object.keys(LOAD_FLAGS) as readonly (keyof typeof LOAD_FLAGS)[];

/** `doctor [MODEL]` */
export const doctorCommand: Command = defineCommand({
  name: "doctor",
  summary: "Check the installation",
  usage: ["doctor [MODEL] [OPTIONS]"],
  flags: {
    "no-self-test": { type: "boolean", help: "Load no model." },
    json: { type: "boolean", help: "Print JSON: ok and findings." },
    ...LOAD_FLAGS,
    worker: ENGINE_FLAGS.worker,
    "models-dir": ENGINE_FLAGS["models-dir"],
  },
  details: DETAILS,
  async run(values, positionals, io) {
    expectPositionals(positionals, ["MODEL"], 0);
    const [name] = positionals;
    if (name !== undefined && values["no-self-test"] === true) {
      throw new UsageError("MODEL and --no-self-test exclude each other");
    }
    const unused = LOAD_FLAG_NAMES.find((flag) => values[flag] !== undefined);
    if (name === undefined && unused !== undefined) throw new UsageError(`--${unused} needs MODEL`);
    const model = name === undefined ? undefined : loadOptions(name, values);
    const findings = await examine({ ...values, model, skipSelfTest: values["no-self-test"] === true }, io);
    const ok = findings.every(({ status }) => status !== "fail");
    if (values.json === true) json(io, { ok, findings });
    else line(io.stdout, renderFindings(findings));
    return ok ? EXIT.ok : EXIT.failed;
  },
});
