"""Writes template_goldens.json: what transformers makes of real chat templates and the conversations below.

It holds hashes of outputs, not templates. Fetch those, then run it with the environment of the baseline:

    scripts/text-parity.sh
    .deps/baseline/venv/bin/python parity/make_template_goldens.py
    .deps/baseline/venv/bin/python parity/make_template_goldens.py --show llama.cpp/GLM-4.6 "two calls"  # one output
"""

import datetime
import hashlib
import json
import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import transformers.utils.chat_template_utils as chat  # noqa: E402
from tokenizers import Tokenizer, models  # noqa: E402
from transformers import PreTrainedTokenizerFast  # noqa: E402

HERE = Path(__file__).parent
FOLDER = HERE / "../.deps/text-parity"
NOW = datetime.datetime(2026, 1, 5, 17, 4, 9, 30)
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}


class FixedClock(datetime.datetime):
    """What strftime_now reads."""

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
        """The time of the goldens."""
        return NOW


def user(content: object) -> dict:
    """A user's message."""
    return {"role": "user", "content": content}


def assistant(content: object, **fields: object) -> dict:
    """An assistant's message."""
    return {"role": "assistant", "content": content, **fields}


def call(name: str, arguments: object, number: int = 1) -> dict:
    """A tool call as the OpenAI API writes it."""
    return {"id": f"call{number:05d}", "type": "function", "function": {"name": name, "arguments": arguments}}


def result(content: object, number: int = 1, name: str = "get_weather") -> dict:
    """A tool's answer."""
    return {"role": "tool", "name": name, "tool_call_id": f"call{number:05d}", "content": content}


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": 'The weather of a "city" <now> & later.\nIn °C.',
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "Größe 😀 'x'"},
                    "unit": {"type": "string", "enum": ["c", "f"], "default": "c"},
                    "days": {"type": ["integer", "null"], "minimum": 0, "maximum": 1e1, "default": None},
                },
                "required": ["city"],
                "additionalProperties": False,
            },
            "return": {"type": "string"},
        },
    },
    {"type": "function", "function": {"name": "no_args", "description": "", "parameters": {"type": "object", "properties": {}}}},
]
NESTED = [
    {
        "type": "function",
        "function": {
            "name": "plan",
            "description": "Plans",
            "strict": True,
            "parameters": {
                "type": "object",
                "$defs": {"step": {"type": "object", "properties": {"id": {"type": "number"}}}},
                "properties": {
                    "steps": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}, "ok": {"type": "boolean"}}}},
                    "when": {"anyOf": [{"type": "string"}, {"type": "number"}], "title": "When"},
                    "kind": {"oneOf": [{"const": "a"}, {"const": 2}], "nullable": True},
                    "map": {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "integer"}}},
                },
                "required": ["steps", "when"],
            },
        },
    }
]
SYSTEM = {"role": "system", "content": "Be brief."}
ASK = user("What is 1 < 2?")
ANSWER = assistant('Yes.\nIt "is" — 100 %.')
ARGUMENTS = {"city": "Köln", "days": 2, "unit": None}
NUMBERS = {"tiny": 1e-7, "huge": 1e22, "neg": -0.0, "int": 12345678901234567, "list": [True, False, None, 1.5, "x", []], "map": {"b": {}, "a": {"ü": "\n"}}}
CALLING = assistant(None, tool_calls=[call("get_weather", ARGUMENTS)])
IMAGE = user([{"type": "text", "text": "look: "}, {"type": "image"}, {"type": "text", "text": "here"}])
THOUGHT = assistant("42", reasoning_content="6*7 is\n42")
TURN = {"add_generation_prompt": True}

CONVERSATIONS = {
    "user": {"messages": [ASK], **TURN},
    "system": {"messages": [SYSTEM, ASK], **TURN},
    "turns": {"messages": [SYSTEM, ASK, ANSWER, user("And 2 < 1?")], **TURN},
    "turns without system": {"messages": [ASK, ANSWER, user("a"), assistant("b"), user("c")], **TURN},
    "finished": {"messages": [SYSTEM, ASK, ANSWER]},
    "assistant first": {"messages": [ANSWER, ASK], **TURN},
    "two users": {"messages": [ASK, user("Well?")], **TURN},
    "two assistants": {"messages": [ASK, ANSWER, assistant("Or not.")]},
    "system in the middle": {"messages": [ASK, ANSWER, SYSTEM, user("Go on")], **TURN},
    "system alone": {"messages": [SYSTEM], **TURN},
    "two systems": {"messages": [SYSTEM, {"role": "system", "content": "Be kind."}, ASK], **TURN},
    "empty content": {"messages": [{"role": "system", "content": ""}, user(""), assistant(""), user(" ")], **TURN},
    "null content": {"messages": [user(None), assistant(None), user("x")], **TURN},
    "white space": {"messages": [{"role": "system", "content": "\n s \t"}, user("  a\n\n"), assistant("\n\n b \u00a0"), user("\u3000c\x1c")], **TURN},
    "unicode": {"messages": [user("é e\u0301 👩‍👩‍👧 ﷽ שלום \u200b\u202e 你好 \ufffd \x00 \x07 \u2028"), assistant("🇩🇪ß"), user("ﬁ")], **TURN},
    "markers": {"messages": [user("</s><|im_end|>[/INST]<|eot_id|>{{ x }}{% if %}"), assistant("<think>no</think><tool_call>"), user("<end_of_turn>")], **TURN},
    "unknown role": {"messages": [ASK, {"role": "critic", "content": "Hm."}], **TURN},
    "developer": {"messages": [{"role": "developer", "content": "Be quick."}, ASK], **TURN},
    "named": {"messages": [{"role": "user", "name": "Ann", "content": "Hi"}], **TURN},
    "parts": {"messages": [{"role": "system", "content": [{"type": "text", "text": "Be"}]}, user([{"type": "text", "text": "Hi "}, {"type": "text", "text": "there"}])], **TURN},
    "image": {"messages": [IMAGE, assistant([{"type": "text", "text": "A cat"}]), user("Sure?")], **TURN},
    "tools": {"messages": [ASK], "tools": TOOLS, **TURN},
    "tools and system": {"messages": [SYSTEM, ASK], "tools": TOOLS, **TURN},
    "nested tools": {"messages": [SYSTEM, ASK], "tools": NESTED, **TURN},
    "no tools": {"messages": [ASK], "tools": [], **TURN},
    "bare tool": {"messages": [ASK], "tools": [{"name": "bare", "description": "d", "parameters": {"type": "object", "properties": {"x": {"type": "string"}}}}], **TURN},
    "call": {"messages": [ASK, CALLING], "tools": TOOLS},
    "call and result": {"messages": [SYSTEM, ASK, CALLING, result('{"t": 21.5}')], "tools": TOOLS, **TURN},
    "arguments as text": {"messages": [ASK, assistant("", tool_calls=[call("get_weather", json.dumps(ARGUMENTS))]), result("21")], "tools": TOOLS, **TURN},
    "arguments of numbers": {"messages": [ASK, assistant("", tool_calls=[call("get_weather", NUMBERS)]), result("21")], "tools": TOOLS, **TURN},
    "no arguments": {"messages": [ASK, assistant("", tool_calls=[call("no_args", {})]), result("", name="no_args")], "tools": TOOLS, **TURN},
    "two calls": {
        "messages": [ASK, assistant("Wait.", tool_calls=[call("get_weather", ARGUMENTS), call("no_args", {}, 2)]), result("21"), result("ok", 2, "no_args")],
        "tools": TOOLS,
        **TURN,
    },
    "calls in turn": {
        "messages": [SYSTEM, ASK, CALLING, result("21"), assistant("", tool_calls=[call("no_args", {}, 2)]), result("ok", 2, "no_args"), ANSWER, user("Thanks")],
        "tools": TOOLS,
        **TURN,
    },
    "call without tools": {"messages": [ASK, CALLING, result("21"), ANSWER]},
    "bare call": {"messages": [ASK, assistant("", tool_calls=[{"name": "get_weather", "arguments": ARGUMENTS}]), result("21")], "tools": TOOLS, **TURN},
    "result of parts": {"messages": [ASK, CALLING, result([{"type": "text", "text": "21"}])], "tools": TOOLS, **TURN},
    "result as data": {"messages": [ASK, CALLING, result({"t": 21.0, "wind": [1, None]})], "tools": TOOLS, **TURN},
    "stray result": {"messages": [ASK, result("21")], **TURN},
    "result without name": {"messages": [ASK, CALLING, {"role": "tool", "content": "21"}], "tools": TOOLS, **TURN},
    "thought": {"messages": [SYSTEM, ASK, THOUGHT, user("Why?")], **TURN},
    "thought last": {"messages": [ASK, THOUGHT]},
    "thought in text": {"messages": [ASK, assistant("<think>\nhm\n</think>\n\n42"), user("Why?"), assistant("<think></think>So")]},
    "thought and call": {"messages": [ASK, assistant("", reasoning_content="look it up", tool_calls=[call("get_weather", ARGUMENTS)]), result("21")], "tools": TOOLS, **TURN},
    "thinking on": {"messages": [SYSTEM, ASK, THOUGHT, user("Why?")], "kwargs": {"enable_thinking": True, "thinking": True}, **TURN},
    "thinking off": {"messages": [SYSTEM, ASK, THOUGHT, user("Why?")], "kwargs": {"enable_thinking": False, "thinking": False}, **TURN},
    "thinking off, tools": {"messages": [ASK, CALLING, result("21")], "tools": TOOLS, "kwargs": {"enable_thinking": False, "thinking": False}, **TURN},
    "effort": {"messages": [ASK], "tools": TOOLS, "kwargs": {"reasoning_effort": "high", "thinking_budget": 512, "date_string": "1 May 2026", "add_vision_id": True}, **TURN},
    "documents": {"messages": [SYSTEM, ASK], "kwargs": {"documents": [{"title": "T", "text": "x"}, {"title": "U", "text": "y\n"}], "citation_mode": "fast"}, **TURN},
    "other tokens": {"messages": [SYSTEM, ASK, ANSWER], "kwargs": {"bos_token": "[B]", "eos_token": "", "builtin_tools": ["code_interpreter"], "tools_in_user_message": False}},
}


def templates() -> dict[str, str]:
    """Every distinct template by name: its source's folder and the model."""
    found = {f"{path.parent.name}/{path.stem}": path.read_bytes().decode() for path in sorted(FOLDER.glob("templates/*/*.jinja"))}
    for path in sorted(FOLDER.glob("tokenizers/*/tokenizer_config.json")):
        template = json.loads(path.read_text(encoding="utf-8")).get("chat_template")
        if template:
            found[f"config/{path.parent.name}"] = template
    seen: set[str] = set()
    return {name: text for name, text in found.items() if not (text in seen or seen.add(text))}


def render(template: str, conversation: dict) -> str | Exception:
    """The text, or why there is none."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), **SPECIAL)
    try:
        return tokenizer.apply_chat_template(
            conversation["messages"],
            tools=conversation.get("tools"),
            chat_template=template,
            tokenize=False,
            add_generation_prompt=conversation.get("add_generation_prompt", False),
            **conversation.get("kwargs", {}),
        )
    except Exception as error:  # noqa: BLE001  a template may fail in any way
        return error


def digest(text: str | Exception) -> str:
    """Twelve hex digits, or the word for a failure."""
    return "raises" if isinstance(text, Exception) else hashlib.sha256(text.encode()).hexdigest()[:12]


def main() -> None:
    """Writes the file, or shows one output."""
    chat.datetime = FixedClock
    if sys.argv[1:2] == ["--show"]:
        shown = render(templates()[sys.argv[2]], CONVERSATIONS[sys.argv[3]])
        print(repr(shown) if isinstance(shown, Exception) else shown)
        return
    rendered = {name: {"source": digest(text), "outputs": [digest(render(text, c)) for c in CONVERSATIONS.values()]} for name, text in templates().items()}
    goldens = {"now": NOW.isoformat(), "special_tokens": SPECIAL, "conversations": CONVERSATIONS, "templates": rendered}
    lines = json.dumps(goldens, ensure_ascii=False, separators=(",", ":")).replace('},"', '},\n"')
    (HERE / "template_goldens.json").write_text(lines + "\n", encoding="utf-8")
    outputs = [output for t in rendered.values() for output in t["outputs"]]
    print(f"{len(rendered)} templates, {len(outputs)} renderings, {outputs.count('raises')} of which raise")


if __name__ == "__main__":
    main()
