import { writeFile } from "node:fs/promises";
import { expandHome } from "../engine-flags.js";
import { messageOf } from "../exit.js";
import { figures } from "../figures.js";
import { type Io, line } from "../io.js";
import type { Conversation } from "./conversation.js";

interface ChatCommand {
  readonly usage: string;
  readonly help: string;
  run(argument: string, conversation: Conversation, io: Io): unknown;
}

const COMMANDS: Readonly<Record<string, ChatCommand>> = {
  help: {
    usage: "/help",
    help: "list the commands",
    run: (_argument, _conversation, io) => line(io.stderr, helpText()),
  },
  clear: {
    usage: "/clear",
    help: "forget the conversation; the system message stays",
    run: (_argument, conversation, io) => {
      conversation.clear();
      line(io.stderr, "The conversation is empty.");
    },
  },
  system: {
    usage: "/system [TEXT]",
    help: "show or set the system message",
    run: (argument, conversation, io) => {
      if (argument !== "") conversation.system = argument;
      line(io.stderr, conversation.system ?? "There is no system message.");
    },
  },
  save: {
    usage: "/save FILE",
    help: "write the conversation to a new file, as JSON",
    run: save,
  },
  stats: {
    usage: "/stats",
    help: "figures of the last answer",
    run: (_argument, conversation, io) => {
      line(
        io.stderr,
        conversation.last === undefined ? "There is no answer yet." : figures(conversation.last),
      );
    },
  },
  exit: { usage: "/exit", help: "end the chat; so does Ctrl-D", run: () => "exit" },
};

function helpText(): string {
  const rows = Object.values(COMMANDS).map(({ usage, help }) => `  ${usage.padEnd(15)}  ${help}`);
  return [
    ...rows,
    'A \\ at the end of a line goes on in the next one; """ on a line of its own begins and ends several lines.',
    "// at the beginning sends a text that begins with a slash. Ctrl-C stops an answer.",
  ].join("\n");
}

async function save(argument: string, conversation: Conversation, io: Io): Promise<void> {
  if (argument === "") return line(io.stderr, "/save needs the name of a file.");
  const path = expandHome(argument);
  try {
    const { messages } = conversation.session;
    const content = JSON.stringify({ messages }, null, 2);
    await writeFile(path, `${content}\n`, { flag: "wx" });
    line(io.stderr, `Saved ${messages.length} messages to ${path}.`);
  } catch (error) {
    line(io.stderr, `Not saved: ${messageOf(error)}`);
  }
}

/** Runs a line that begins with a slash; "exit" ends the chat. What is wrong with it is printed. */
export async function runChatCommand(
  text: string,
  conversation: Conversation,
  io: Io,
): Promise<"exit" | undefined> {
  const [, name = "", argument = ""] = /^\/(\S*)\s*([\s\S]*)$/.exec(text) ?? [];
  const known = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (known === undefined) {
    line(io.stderr, `There is no command /${name}; /help lists the commands.`);
    return undefined;
  }
  return (await known.run(argument.trim(), conversation, io)) === "exit" ? "exit" : undefined;
}
