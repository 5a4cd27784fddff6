import { ContextLengthExceededError, EngineClosedError } from "../../index.js";
import { EXIT, messageOf } from "../exit.js";
import { dim, type Io, line } from "../io.js";
import { runChatCommand } from "./chat-commands.js";
import type { Conversation } from "./conversation.js";
import type { ChatInput } from "./input.js";

/** Answers what comes in until it ends; resolves to the exit code. */
export async function talk(conversation: Conversation, input: ChatInput, io: Io): Promise<number> {
  let interrupted = false;
  input.onInterrupt(() => {
    if (conversation.session.busy) conversation.session.stop();
    else if (input.interactive) {
      note(io, "\n(Ctrl-D or /exit ends the chat)");
      input.discard();
    } else {
      interrupted = true;
      input.close();
    }
  });
  try {
    for await (const text of input) {
      if (interrupted) break;
      if (text.trim() === "") continue;
      if (text.startsWith("/") && !text.startsWith("//")) {
        if ((await runChatCommand(text, conversation, io)) === "exit") break;
        continue;
      }
      const answered = await answer(conversation, text.startsWith("//") ? text.slice(1) : text, io);
      if (!answered && !input.interactive) return EXIT.failed;
    }
    if (input.interactive) line(io.stdout);
    return interrupted ? EXIT.interrupted : EXIT.ok;
  } finally {
    input.close();
  }
}

/** Streams an answer; false if it failed, which ends no conversation. */
async function answer(conversation: Conversation, text: string, io: Io): Promise<boolean> {
  try {
    const result = await conversation.send(text, (piece) => io.stdout.write(piece));
    if (!result.text.endsWith("\n")) line(io.stdout);
    if (result.finishReason === "cancelled") note(io, "(stopped)");
    return true;
  } catch (error) {
    if (error instanceof EngineClosedError) throw error;
    line(io.stderr, `mlx-worker: ${messageOf(error)}`);
    if (error instanceof ContextLengthExceededError) note(io, "(/clear begins a new conversation)");
    return false;
  }
}

function note(io: Io, text: string): void {
  line(io.stderr, dim(io.stderr, io.env, text));
}
