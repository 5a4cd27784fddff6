#!/usr/bin/env python3
"""Writes the golden files of the text package's tests from the reference implementations.

Run it from this folder in a virtual environment with the versions below, and with the test
model in place (make model). mlx-lm is only read, so it needs no MLX:

    pip install tokenizers==0.23.2 transformers==5.23.0 jinja2==3.1.6 gguf==0.19.0 \
        sentencepiece==0.2.3 protobuf
    pip install --no-deps mlx-lm==0.32.2
    python make_goldens.py

Everything is trained on the text in this file: no third party's tokenizer is committed.
"""

import datetime
import importlib.util
import io
import json
import os
import random
import sys
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_OFFLINE"] = "1"

import gguf  # noqa: E402
import sentencepiece  # noqa: E402
import transformers.utils.chat_template_utils as chat  # noqa: E402
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers  # noqa: E402
from tokenizers import pre_tokenizers, processors, trainers  # noqa: E402
from transformers import PreTrainedTokenizerFast  # noqa: E402
from transformers.tokenization_utils_base import generate_merges  # noqa: E402



def load_mlx_lm_tokenizers():
    """mlx-lm's module alone: importing the package would import MLX."""
    folder = importlib.util.find_spec("mlx_lm").submodule_search_locations[0]
    spec = importlib.util.spec_from_file_location("mlx_lm_tokenizer_utils", Path(folder) / "tokenizer_utils.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


mlx_lm = load_mlx_lm_tokenizers()
HERE = Path(__file__).parent
MODEL = HERE / "../../.deps/models/SmolLM2-135M-Instruct.Q4_1.gguf"

PROSE = """The lighthouse keeper counted 12 ships, 3 barges and 1,024 gulls before breakfast. He wrote
the numbers down: 12; 3; 1024. "Isn't that odd?" he'd asked, and they'll say it wasn't. We've seen WORSE, I'M sure.
Über den Wolken schwebt ein Käse; l'été arrive à Noël. Привет, мир! Γειά σου Κόσμε. 今日は良い天気ですね。你好，世界！안녕하세요.
def add(a, b):\n    return a + b  # sum\n\tfor i in range(10):\n\t\tprint(f"{i:>3}")\n\n\nif x != y: x += 1
हिन्दी में लिखें। مرحبا بالعالم. שלום עולם. emoji: 😀👩‍👩‍👧🏽🇩🇪 and math: ∑ x² ≤ ∞. tabs\tand  double   spaces
"""

CORPUS = [
    "", " ", "  ", "   ", "\n", "\n\n", " \n", "\n ", "\t", "\r\n", "\r\n\r\n ", "a", " a", "a ", "  a  b   c    ",
    "Hello, world!", "hello world", "Hello", "HELLO there", "I'm you're WE'LL they'd it'S don't 'tis 's 'S",
    "1", "12", "123", "1234", "12345678901234567890", "3.14159", "1,000,000", "x1y22z333", "²³¼½", "٣٤٥", "Ⅷ", "1st 2nd",
    "def f(x):\n    return x\n\n\n    y = 1\n\t\tz", "for(;;){i++;}//c\n", "a->b=>c !== d && e||f", "##@@!!..??--", "/path/to\\file",
    "<|im_start|>user\nhi<|im_end|>\n", "<|im_start|><|im_end|>", " <|im_end|> ", "<|im_", "<s>hi</s>", "<unk>", "<tool>x</tool>",
    "héllo", "he\u0301llo", "Å Å A\u030a", "ﬁ ﬀ", "naïve café", "ÀÉÎ ÀÉÎ", "ǅ ǆ Ǆ ʰ",
    "Привет мир", "Γειά", "今日は良い天気", "你好，世界！", "안녕하세요", "हिन्दी में", "مرحبا", "שלום", "ไทยแลนด์",
    "😀", "👩‍👩‍👧", "🇩🇪🇫🇷", "🏽", "a😀b", "😀😀😀", "❤️", "\u200b", "\u200d", "\ufeffbom", "a\u00a0b", "\u3000x", "\u2028y", "a\u0085b",
    "\u0000", "a\u0000b", "\u0001\u001f\u007f", "\ufffd", "a\ufffdb", "\ufffd\ufffd", " \ufffd", "\U0010ffff", "\ue000", "▁", "▁▁a▁b", "Ġa Ċ", "<0x41>", "<0xE4>",
    "The lighthouse keeper counted 12 ships.", PROSE, "x" * 300, "ab" * 200, " " * 50 + "z", "\n" * 20, "a\n" * 20, "=" * 33,
]


def fuzz_corpus(count):
    rng = random.Random(7)
    alphabet = list("abc XYZ 0129 \n\t'.,;-_/<>|") + list("éÜß今日は你好हम😀🏽\u0301\u200d\ufffd▁Ġ\u00a0") + ["<|im_end|>", "'ll", "  "]
    return ["".join(rng.choice(alphabet) for _ in range(rng.randint(1, 40))) for _ in range(count)]


CORPUS += fuzz_corpus(60)


def write(name, data):
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    # One case a line keeps diffs readable.
    text = text.replace('},{"', '},\n{"')
    (HERE / name).write_text(text + "\n", encoding="ascii")


# --- tokenizer.json files ------------------------------------------------------------------

GPT2_ALPHABET = pre_tokenizers.ByteLevel.alphabet()


def byte_level_json():
    """Byte-level BPE with a split expression, special and ordinary added tokens, BOS."""
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"\p{N}{1,3}|\s+(?!\S)|[^\s\p{N}]?[^\s\p{N}]+|\s+"), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=420, initial_alphabet=GPT2_ALPHABET, show_progress=False,
                                  special_tokens=["<s>", "</s>", "<|im_start|>", "<|im_end|>"])
    tok.train_from_iterator([PROSE] * 3, trainer)
    tok.add_tokens([AddedToken("<tool>", normalized=False), AddedToken("</tool>", lstrip=True, rstrip=True, normalized=False)])
    tok.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", tok.token_to_id("<s>"))])
    return tok


def train_sentencepiece():
    """A SentencePiece BPE model with byte fallback, as Llama's."""
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter((PROSE * 3).split("\n")), model_writer=out, model_type="bpe", vocab_size=520, byte_fallback=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, character_coverage=0.98, split_digits=True,
        user_defined_symbols=["<|im_start|>", "<|im_end|>"], minloglevel=2)
    return sentencepiece.SentencePieceProcessor(model_proto=out.getvalue())


def sentencepiece_vocab(sp):
    tokens = [sp.id_to_piece(i) for i in range(len(sp))]
    scores = [sp.get_score(i) for i in range(len(sp))]
    types = [2 if sp.is_unknown(i) else 3 if sp.is_control(i) else 6 if sp.is_byte(i) else 5 if sp.is_unused(i) else 1 for i in range(len(sp))]
    for name in ("<|im_start|>", "<|im_end|>"):
        types[tokens.index(name)] = 4
    return tokens, scores, types


def sentencepiece_tokenizer(tokens, scores, types, prefix=True):
    """The tokenizers pipeline of Llama 2's tokenizer.json over this vocabulary."""
    vocab = {t: i for i, t in enumerate(tokens)}
    ordinary = {t: s for t, s, kind in zip(tokens, scores, types) if kind in (1, 5)}
    tok = Tokenizer(models.BPE(vocab, generate_merges(vocab, ordinary), unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    spaces = normalizers.Replace(" ", "▁")
    tok.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), spaces] if prefix else [spaces])
    stages = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tok.decoder = decoders.Sequence(stages + ([decoders.Strip(" ", 1, 0)] if prefix else []))
    tok.add_tokens([AddedToken(t, special=kind != 4, normalized=False) for t, kind in zip(tokens, types) if kind in (2, 3, 4)])
    tok.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)])
    return tok


def unigram_json():
    """Unigram with Metaspace: a decoder that works on whole sequences."""
    tok = Tokenizer(models.Unigram())
    tok.normalizer = normalizers.NFKC()
    tok.pre_tokenizer = pre_tokenizers.Metaspace()
    tok.decoder = decoders.Metaspace()
    tok.train_from_iterator(PROSE.split("\n") * 3, trainers.UnigramTrainer(
        vocab_size=300, unk_token="<unk>", special_tokens=["<unk>", "</s>", "<|im_end|>"], show_progress=False))
    tok.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A $B </s>", special_tokens=[("</s>", 1)])
    return tok


def wordpiece_json():
    """WordPiece whose file switches padding and truncation on."""
    tok = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tok.normalizer = normalizers.BertNormalizer(lowercase=True)
    tok.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tok.decoder = decoders.WordPiece(cleanup=False)
    tok.train_from_iterator([PROSE] * 3, trainers.WordPieceTrainer(
        vocab_size=400, special_tokens=["[UNK]", "[CLS]", "[SEP]", "[PAD]"], show_progress=False))
    tok.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    return tok


class Wrapped:
    """What mlx-lm's detokenizers need of a transformers tokenizer."""

    def __init__(self, tok):
        self.tok = tok
        self.vocab = tok.get_vocab()

    def __len__(self):
        return self.tok.get_vocab_size()

    def convert_ids_to_tokens(self, ids):
        return [self.tok.id_to_token(i) for i in ids]


def mlx_lm_stream(tok, ids):
    """The text of mlx-lm's streaming detokenizer for this decoder, None for its naive one."""
    decoder = json.loads(tok.to_str())["decoder"]
    if mlx_lm._is_spm_decoder(decoder):
        detok = mlx_lm.SPMStreamingDetokenizer(Wrapped(tok))
    elif mlx_lm._is_spm_decoder_no_space(decoder):
        detok = mlx_lm.SPMStreamingDetokenizer(Wrapped(tok), trim_space=False)
    elif mlx_lm._is_bpe_decoder(decoder):
        detok = mlx_lm.BPEStreamingDetokenizer(Wrapped(tok))
        if any("Ā" in (tok.id_to_token(i) or "") for i in ids):
            return None  # it takes byte 0 for an unmapped character
    else:
        return None
    for i in ids:
        detok.add_token(i)
    try:
        detok.finalize()
    except KeyError:
        return None  # it cannot end in a character outside GPT-2's alphabet
    return detok.text


def cases(tok, corpus=CORPUS):
    out = []
    for text in corpus:
        plain = tok.encode(text, add_special_tokens=False).ids
        special = tok.encode(text, add_special_tokens=True).ids
        out.append({"text": text, "ids": plain, "special": special, "decoded": tok.decode(special, skip_special_tokens=False),
                    "skipped": tok.decode(special, skip_special_tokens=True), "streamed": mlx_lm_stream(tok, plain)})
    return out


def random_streams(tok, count=200):
    """Token sequences that no text encodes to: broken characters, spaces, specials."""
    rng = random.Random(11)
    size = tok.get_vocab_size()
    low = [i for i in range(size) if len(tok.id_to_token(i) or "") <= 1 or (tok.id_to_token(i) or "").startswith("<0x")]
    out = []
    for n in range(count):
        pool = low if n % 2 else range(size)
        ids = [rng.choice(pool) for _ in range(rng.randint(1, 12))]
        streamed = mlx_lm_stream(tok, ids)
        if streamed is not None:
            out.append({"ids": ids, "streamed": streamed})
    return out


def write_tokenizers():
    sp = train_sentencepiece()
    tokens, scores, types = sentencepiece_vocab(sp)
    loaded = {
        "byte_level": byte_level_json(),
        "sentence_piece": sentencepiece_tokenizer(tokens, scores, types),
        "sentence_piece_no_prefix": sentencepiece_tokenizer(tokens, scores, types, prefix=False),
        "unigram": unigram_json(),
        "wordpiece": wordpiece_json(),
    }
    for name, tok in loaded.items():
        goldens = {"cases": cases(tok), "streams": random_streams(tok)}
        write(f"{name}.golden.json", goldens)
        if name == "wordpiece":
            tok.enable_truncation(max_length=8)
            tok.enable_padding(length=16, pad_id=3, pad_token="[PAD]")
        (HERE / f"{name}.tokenizer.json").write_text(tok.to_str() + "\n", encoding="utf-8")

    differing = [t for t in CORPUS if "<" not in t and "▁" not in t and "\0" not in t and sp.encode(t) != loaded["sentence_piece"].encode(t, add_special_tokens=False).ids]
    print(f"SentencePiece itself differs on {len(differing)} texts: {[t[:20] for t in differing]}")
    write("sentence_piece.vocab.json", {"tokens": tokens, "scores": scores, "types": types})


# --- GGUF vocabularies ----------------------------------------------------------------------

LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
TEKKEN = (rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*"
          r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
ENDING = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
O200K = (rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{ENDING}|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{ENDING}"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK = [r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+",
            r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""]


def splits(*expressions):
    stages = [pre_tokenizers.Split(Regex(e), "isolated") for e in expressions]
    return pre_tokenizers.Sequence(stages + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


GPT2 = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
SMOLLM = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), GPT2])
# name: (pre-tokenizer, normalizer, ignore_merges, adds BOS by default)
FAMILIES = {
    "default": (GPT2, None, False, False),
    "gpt-2": (GPT2, None, False, False),
    "smollm": (SMOLLM, None, False, False),
    "llama-bpe": (splits(LLAMA3), None, True, True),
    "qwen2": (splits(QWEN2), normalizers.NFC(), False, False),
    "tekken": (splits(TEKKEN), None, True, True),
    "deepseek-v3": (splits(*DEEPSEEK), None, False, False),
    "gpt-4o": (splits(O200K), None, True, False),
}


def write_families():
    """One small vocabulary whose merges cross every boundary that a family may cut at."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trained.train_from_iterator(PROSE.split("\n") * 3 + CORPUS[:90], trainers.BpeTrainer(
        vocab_size=700, initial_alphabet=GPT2_ALPHABET, show_progress=False))
    model = json.loads(trained.to_str())["model"]
    vocab = dict(model["vocab"])
    merges = [tuple(m) for m in model["merges"]]
    types = [1] * len(vocab)
    for text, kind in (("<|begin|>", 3), ("<|im_start|>", 3), ("<|im_end|>", 3), ("<tool>", 4), ("  <x>", 4), ("[PAD0]", 5)):
        vocab[text] = len(vocab)
        types.append(kind)
    tokens = sorted(vocab, key=vocab.get)
    families = {}
    for name, (cut, normalizer, ignore, adds_bos) in FAMILIES.items():
        tok = Tokenizer(models.BPE(vocab, merges, ignore_merges=ignore))
        tok.pre_tokenizer, tok.decoder = cut, decoders.ByteLevel()
        if normalizer is not None:
            tok.normalizer = normalizer
        tok.add_tokens([AddedToken(t, special=k == 3, normalized=False) for t, k in zip(tokens, types) if k in (3, 4)])
        if adds_bos:
            tok.post_processor = processors.TemplateProcessing(single="<|begin|> $A", pair="<|begin|> $A $B", special_tokens=[("<|begin|>", vocab["<|begin|>"])])
        families[name] = [tok.encode(text).ids for text in CORPUS]
    different = len({json.dumps(ids) for ids in families.values()})
    print(f"{len(families)} families, {different} different results")
    write("families.golden.json", {"tokens": tokens, "types": types, "merges": [" ".join(m) for m in merges],
                                   "bos": vocab["<|begin|>"], "corpus": CORPUS, "families": families})


def write_smollm2():
    """SmolLM2's pipeline over the real vocabulary, read by gguf-py."""
    fields = gguf.GGUFReader(MODEL).fields
    value = lambda key: fields["tokenizer.ggml." + key].contents()
    tokens, types = value("tokens"), value("token_type")
    merges = [tuple(m.split(" ")) for m in value("merges")]
    tok = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    tok.pre_tokenizer, tok.decoder = SMOLLM, decoders.ByteLevel()
    tok.add_special_tokens([AddedToken(t, special=True, normalized=False) for t, k in zip(tokens, types) if k == 3])
    write("smollm2.golden.json", {"cases": cases(tok), "streams": random_streams(tok)})
    return fields["tokenizer.chat_template"].contents()


# --- chat templates -------------------------------------------------------------------------

NOW = datetime.datetime(2024, 7, 6, 9, 5, 3, 42)


class FixedClock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "description": "Weather of a \"city\" <now> & later",
     "parameters": {"type": "object", "properties": {"city": {"type": "string", "description": "Größe 😀"}, "days": {"type": "integer", "enum": [1, 2], "default": 1.0}}, "required": ["city"]}}},
    {"type": "function", "function": {"name": "no_args", "description": "", "parameters": {"type": "object", "properties": {}}}},
]
USER = {"role": "user", "content": "  What's 1 < 2?\n"}
SYSTEM = {"role": "system", "content": "Be brief.\n\n"}
ASSISTANT = {"role": "assistant", "content": "Yes.\nIt \"is\" — 100 %."}
CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "Köln", "days": 2, "x": 1e-7, "y": [True, None, 1e16, -0.0, 12345678901234567], "z": {"b": 1, "a": ""}}}}]}
RESULT = {"role": "tool", "name": "get_weather", "tool_call_id": "c1", "content": "{\"t\": 21.5}"}
PARTS = {"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "image"}, {"type": "text", "text": "'here'\t\u200b\x07"}]}
THINKING = {"role": "assistant", "content": "42", "reasoning": "6*7"}

CONVERSATIONS = [
    {"messages": [USER], "add_generation_prompt": True},
    {"messages": [SYSTEM, USER], "add_generation_prompt": True},
    {"messages": [SYSTEM, USER, ASSISTANT, USER], "add_generation_prompt": True},
    {"messages": [USER, ASSISTANT], "add_generation_prompt": False},
    {"messages": [ASSISTANT, USER], "add_generation_prompt": False},
    {"messages": [USER], "tools": TOOLS, "add_generation_prompt": True},
    {"messages": [SYSTEM, USER, CALL, RESULT, ASSISTANT], "tools": TOOLS, "add_generation_prompt": False},
    {"messages": [PARTS, THINKING, USER], "add_generation_prompt": True},
    {"messages": [USER], "add_generation_prompt": True, "kwargs": {"enable_thinking": False, "number": 1e-7, "big": 1e22, "flag": None, "list": [1, 2.5, "x"], "bos_token": "[B]"}},
    {"messages": [USER], "tools": [], "add_generation_prompt": True, "kwargs": {"documents": [{"title": "T", "text": "x"}]}},
]


def render(source, case):
    tok = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    try:
        text = tok.apply_chat_template(case["messages"], tools=case.get("tools"), chat_template=source, tokenize=False,
                                       add_generation_prompt=case["add_generation_prompt"], **case.get("kwargs", {}))
        return {"text": text}
    except Exception as error:  # a template may fail in any way
        return {"error": f"{type(error).__name__}: {error}"}


def write_templates(smollm2_template):
    chat.datetime = FixedClock
    sources = {path.name: path.read_text(encoding="utf-8") for path in sorted((HERE / "templates").glob("*.jinja"))}
    rendered = {name: [render(source, case) for case in CONVERSATIONS] for name, source in sources.items()}
    rendered["smollm2 (in the GGUF file)"] = [render(smollm2_template, case) for case in CONVERSATIONS]
    for name, results in rendered.items():
        print(name, ["error: " + r["error"][:60] if "error" in r else len(r["text"]) for r in results])
    write("templates.golden.json", {"now": NOW.isoformat(), "special_tokens": {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"},
                                    "conversations": CONVERSATIONS, "rendered": rendered})


if __name__ == "__main__":
    write_tokenizers()
    write_families()
    write_templates(write_smollm2())
    sys.exit(0)
