"""Writes tokenizer_goldens/: what Python's tokenizers and transformers make of a nasty corpus with real tokenizers.

The files hold hashes, and for every eighth text the ids. Fetch the tokenizers, then run it with the environment
of the baseline:

    scripts/text-parity.sh
    .deps/baseline/venv/bin/python parity/make_tokenizer_goldens.py
    .deps/baseline/venv/bin/python parity/make_tokenizer_goldens.py --show qwen3 17   # one text in full
"""

import hashlib
import json
import os
import random
import struct
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

from tokenizers import Tokenizer  # noqa: E402
from transformers import AutoTokenizer  # noqa: E402

HERE = Path(__file__).parent
FOLDER = HERE / "../.deps/text-parity/tokenizers"
TARGET = HERE / "tokenizer_goldens"
SEED = 20260105
FULL = 8
"""Every so many texts keep their ids, so that a failure can be read."""

HANDMADE = """a|A|hello world|Hello, World!| leading|trailing |  two  spaces  |I'm you're WE'LL they'd it'S don't 'tis 's 'S O'Neill's
can't've rock'n'roll|it’s “quoted” ‘single’|3.14159|1,000,000|1e-7|0x1F|x1y22z333|12345678901234567890|1st 2nd 3rd|٣٤٥ ४५६ ５６７|²³¼½ Ⅷ ㊿
1 2 3|1  2   3|2024-07-06T09:05:03.000042Z|192.168.0.1:8080|v1.2.3-rc.4+build|$1.99 €2,50 £3 ¥400|50% off!!!|a@b.co|https://x.y/z?q=1&r=%20#top
#hashtag @mention|C:\\\\Users\\\\me|/usr/local/bin|--flag=value|foo_bar fooBar FooBar FOO_BAR foo-bar|ALLCAPSWORD|mIxEdCaSe|snake_case_name2
naïve café résumé|Größe Straße ẞ|ça où œuvre|Ærøskøbing|İstanbul ıI|ﬁ ﬂ ﬃ ﬅ|Ǆ ǅ ǆ|K Å Ω|Å Å Å|é é|ế ế ế|n͂̂̃|Z̷̢͝ä̶l̸g̵o̴|ñ ñ|가 가|각 각
你好，世界！|中文没有空格的一句话，包含标点。|日本語のテスト：カタカナ、ひらがな、漢字。|ｶﾀｶﾅ ﾊﾝｶｸ|ＦＵＬＬ　ＷＩＤＴＨ|안녕하세요 세계|𠀀𠮷𡈽|㍿㌀㌔|々〆ヶ|北京2008年8月8日
Привет, мир!|ЁЛКА ёлка|Γειά σου Κόσμε ς Σ|שלום עולם|בְּרֵאשִׁית|مرحبا بالعالم|السَّلَامُ عَلَيْكُمْ|ﷺ ﷽|فارسی ‌نیم‌فاصله|हिन्दी में लिखें|क्षत्रिय|தமிழ்|ภาษาไทยไม่มีช่องว่าง|ລາວ|ខ្មែរ|မြန်မာ|བོད་སྐད|ქართული|Հայերեն|አማርኛ|ᏣᎳᎩ|ᚠᚢᚦ|𐍈𐌰|𝔘𝔫𝔦𝔠𝔬𝔡𝔢|𝟎𝟏𝟐|🄰🅱
😀|😀😀😀|👍🏽👍🏿|👩‍👩‍👧‍👦|👨🏽‍💻 works|🏳️‍🌈🏴‍☠️|🇩🇪🇯🇵🇺|❤️ ❤|1️⃣2️⃣#️⃣|☺︎☺️|🫠🪿🫨|text😀text|a😀b😀c|🏴󠁧󠁢󠁳󠁣󠁴󠁿|👁️‍🗨️|⏳⌛️|©®™|♔♕♖|⠓⠑⠇⠇⠕|→⇒∀∃∈ℝ∞∑∫√|x² + y² = z²|½ × ¾ ÷ ⅓|‰ ‱ ° ′ ″
⁠word⁠joiner|zero​width|soft­hyphen|a‍b‌c|‮rtl override‬|﻿bom|�|��x|a�b|￼|￿|󠀁󠁁|\ue000\uf8ff|\ufdd0|\U0010ffff|\U000e0100
<s>|</s>|<s>hello</s>|<unk><pad>|<|endoftext|>|<|im_start|>user\\nhi<|im_end|>|<|begin_of_text|><|start_header_id|>system<|end_header_id|>|<|eot_id|> after|before <|eot_id|>
<bos>x<eos>|<start_of_turn>user\\nhi<end_of_turn>|<start_of_image>|[INST] hi [/INST]|[AVAILABLE_TOOLS][TOOL_CALLS]|<｜begin▁of▁sentence｜>x<｜end▁of▁sentence｜>|<｜User｜>hi<｜Assistant｜>|<think>hm</think>|<|start|>user<|message|>hi<|end|>|<|return|><|call|>|<tool_call>{"a": 1}</tool_call>
[CLS] a [SEP] b [PAD] [MASK] [UNK]|<mask>| <mask> x|<extra_id_0>|<0x0A>|<0xFF> <0xZZ>|< s >|<S>|<s|s>|<|im_end|<|im_end|>|</s></s></s>|<unused0><unused99>|▁|▁▁a▁|Ġ|ĠaĊ|##ing ##|[unused1]
def add(a, b):\\n    return a + b  # sum\\n|\\tif (x != y) {\\n\\t\\tx += 1;\\n\\t}\\n|for (int i=0;i<10;++i) { printf("%d\\\\n", i); }|fn main() -> Result<(), Box<dyn Error>> {\\n    Ok(())\\n}|SELECT * FROM t WHERE a='b''c' AND d<>1;|<div class="x"><p>&nbsp;&amp;</p></div>|{"a":[1,2,{"b":null}],"c":"\\\\u00e9"}|- a\\n  - b\\n    - c\\n|# H1\\n\\n## H2\\n\\n* x\\n* y\\n|```py\\nx = 1\\n```|\\\\frac{a}{b} \\\\sum_{i=0}^{n}|a && b || c ^ d & ~e|x = y == z === w !== v|<?php echo $x; ?>|#!/bin/sh\\nset -eu\\n|export const f = async () => ({ ...a, b });|0b1010_1111u8|@decorator\\nclass A(B): pass|//comment\\n/* block\\n */|%s %d %5.2f %%|${HOME}/$1 $(ls)|\\\\x00\\\\u0041|a->b::c.d[e](f){g}|::::|....|……|-----|_____|=====|*****|~~~~|!!!???|((((((|)))]]]}}}|"\\"'`|\\\\\\\\\\\\"""

WHITE = [" ", "\n", "\t", "\r", "\r\n", "\u00a0", "\u2003", "\u3000", "\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\u200b", "\ufeff", "\x1c"]

ALPHABETS = {
    "ascii": "".join(map(chr, range(32, 127))),
    "words": ["the", " quick", " brown", "fox", " jumps", "Over", " LAZY", " dog's", "\n", "  ", ".", ",", " 42", "7", "'ll", "n't", "\t", " —", "-"],
    "white": [*WHITE, "a", "B", "1", "."],
    "digits": list("0123456789 ,.-") + ["٣", "५", "½", "\n"],
    "marks": list("aeonAEO") + list("\u0301\u0308\u0323\u0302\u0327\u0338\u093c\u0e47\u20dd\ufe0f\u200d"),
    "latin": "".join(map(chr, range(0xA0, 0x250))),
    "greek": "".join(map(chr, range(0x370, 0x530))),
    "semitic": "".join(map(chr, range(0x590, 0x700))) + "  \u200f\u200e",
    "indic": "".join(map(chr, range(0x900, 0xD80))) + "  ",
    "cjk": "".join(map(chr, [*range(0x4E00, 0x4F00), *range(0x3040, 0x3100), *range(0xFF00, 0xFF60)])) + "，。！？",
    "hangul": "".join(map(chr, [*range(0xAC00, 0xAD00), *range(0x1100, 0x1200)])) + " ",
    "emoji": [*map(chr, range(0x1F600, 0x1F650)), "\u200d", "\ufe0f", "🏽", "👩", "🇩", "🇪", " ", "a"],
    "control": [*map(chr, range(32)), "\x7f", "\x80", "\x9f", "a", " ", "\u202e", "\u2066"],
    "anything": [*map(chr, range(0x20, 0xD800, 37)), *map(chr, range(0xE000, 0x20000, 211))],
    "code": ["(", ")", "{", "}", "[", "]", ";", ":", "=", "==", "->", "x", "foo", "_bar", " ", "    ", "\n", "\t", "0", "1.5", '"', "'", "\\", "//", "#", "%", "&&", "return", "if ", "self."],
    "specials": ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|eot_id|>", "<bos>", "<eos>", "<unk>", "<pad>", "[INST]", "[CLS]", "[SEP]", "[MASK]", "<mask>", "<｜end▁of▁sentence｜>", "<|end|>", "<|endoftext|>", "<think>", "<0x41>", "▁", "Ġ", "##a", " ", "a", "hi", "\n", "<", "|>", "1"],
}

BROKEN = [b"\xff", b"\xc3", b"a\xc3b", b"\xe4\xbd", b"\xe4\xbd\xa0\xe5", b"\xf0\x9f\x98", b"\xf0\x9f\x98\x80\x80", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80", b"\x80\x80abc", b"ok \xfe\xff ok", b"\xf8\x88\x80\x80\x80", b"\xe2\x82\xac\xe2\x82", b"\xf0\x28\x8c\xbc"]

LONG = [("a", 5000), ("ab", 2500), ("Ab1", 1000), (" ", 3000), ("\n", 1500), ("\t ", 700), ("1", 2000), ("é", 1500), ("e\u0301", 800), ("你", 1500), ("😀", 600), ("👩\u200d", 400), ("-", 3000), ("</s>", 300), ("<|im_end|>", 200), ("x ", 2000), ("\u0301", 700), ("▁", 900), ("word", 3000), ("supercalifragilistic", 200), ("{}", 900), ("\x00", 300), ("The cat. ", 300)]


def corpus() -> list:
    """Texts as themselves, broken ones as {hex}, long ones as {repeat, times}."""
    rng = random.Random(SEED)
    texts: list = ["", *WHITE, *(w * n for w in WHITE for n in (2, 3, 4)), *(f"a{w}b" for w in WHITE), *(f" {w}x{w} " for w in WHITE)]
    for line in HANDMADE.split("\n"):
        pieces = line.replace("<|", "\x01").replace("|>", "\x02").replace("||", "\x03").split("|")
        texts += [p.replace("\x01", "<|").replace("\x02", "|>").replace("\x03", "||").replace("\\n", "\n").replace("\\t", "\t") for p in pieces]
    for alphabet in ALPHABETS.values():
        texts += ["".join(rng.choices(alphabet, k=rng.choice([2, 3, 5, 8, 13, 21, 34]))) for _ in range(28)]
    mixed = list(ALPHABETS.values())
    for _ in range(60):
        texts.append("".join("".join(rng.choices(rng.choice(mixed), k=rng.randint(1, 6))) for _ in range(rng.randint(2, 8))))
    seen: set[str] = set()
    texts = [t for t in texts if not (t in seen or seen.add(t))]
    return texts + [{"hex": b.hex()} for b in BROKEN] + [{"repeat": s, "times": n} for s, n in LONG]


def text_of(entry: str | dict) -> str:
    """A corpus entry as Python can take it."""
    if isinstance(entry, str):
        return entry
    if "hex" in entry:
        return bytes.fromhex(entry["hex"]).decode("utf-8", "replace")
    return entry["repeat"] * entry["times"]


def random_ids(size: int, count: int = 200) -> list[list[int]]:
    """Sequences that no text encodes to, from a generator that Go has too."""
    state, sequences = 1, []
    for n in range(count):
        ids = []
        for _ in range(1 + n % 12):
            state = (state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
            # Half of them from the low ids, where single bytes are.
            ids.append((state >> 33) % (min(size, 512) if n % 2 else size))
        sequences.append(ids)
    return sequences


def digest(data: bytes | str) -> str:
    """Eight hex digits."""
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()[:8]


def digest_ids(ids: list[int]) -> str:
    """Eight hex digits of ids as little-endian 32-bit numbers."""
    return digest(struct.pack(f"<{len(ids)}I", *ids))


def load(name: str) -> Tokenizer:
    """The tokenizer without the padding and truncation that its file may hold."""
    tokenizer = Tokenizer.from_file(str(FOLDER / name / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def goldens(name: str, texts: list[str]) -> dict:
    """Hashes, eight digits a text in one string."""
    tokenizer = load(name)
    plain = [tokenizer.encode(t, add_special_tokens=False).ids for t in texts]
    special = [tokenizer.encode(t).ids for t in texts]
    sequences = random_ids(tokenizer.get_vocab_size())
    golden = {
        "file": digest((FOLDER / name / "tokenizer.json").read_bytes()),
        "vocab_size": tokenizer.get_vocab_size(),
        "plain": "".join(map(digest_ids, plain)),
        "special": "".join(map(digest_ids, special)),
        "decoded": "".join(digest(tokenizer.decode(ids, skip_special_tokens=False)) for ids in special),
        "skipped": "".join(digest(tokenizer.decode(ids, skip_special_tokens=True)) for ids in special),
        "random": "".join(digest(tokenizer.decode(ids, skip_special_tokens=False)) for ids in sequences),
        "ids": {i: plain[i] for i in range(0, len(texts), FULL) if len(plain[i]) <= 40},
    }
    if (FOLDER / name / "tokenizer_config.json").exists():
        golden |= from_folder(name, texts, special)
    print(f"{name:14} {golden.get('class', ''):20} transformers differ from tokenizer.json on {golden.get('differs', 0)} of {len(texts)}")
    return golden


def from_folder(name: str, texts: list[str], special: list[list[int]]) -> dict:
    """What mlx-lm gets: transformers' own reading of the folder."""
    auto = AutoTokenizer.from_pretrained(FOLDER / name)
    ids = [auto.encode(t) for t in texts]
    return {
        "class": type(auto).__name__,
        "differs": sum(a != b for a, b in zip(ids, special, strict=True)),
        "transformers": "".join(map(digest_ids, ids)),
        "transformers_decoded": "".join(digest(auto.decode(i)) for i in ids),
        "eos": auto.eos_token_id,
    }


def main() -> None:
    """Writes the files, or shows one text."""
    entries = corpus()
    if sys.argv[1:2] == ["--show"]:
        tokenizer, text = load(sys.argv[2]), text_of(entries[int(sys.argv[3])])
        encoded = tokenizer.encode(text)
        print(repr(text), encoded.ids, encoded.tokens, repr(tokenizer.decode(encoded.ids, skip_special_tokens=False)), sep="\n")
        return
    TARGET.mkdir(exist_ok=True)
    write("corpus", entries)
    texts = [text_of(entry) for entry in entries]
    print(f"{len(texts)} texts, {sum(len(t.encode()) for t in texts)} bytes")
    for folder in sorted(FOLDER.iterdir()):
        write(folder.name, goldens(folder.name, texts))


def write(name: str, content: object) -> None:
    """One value a line at the top level."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    if isinstance(content, dict):
        text = "{\n" + ",\n".join(f"{json.dumps(k)}:{json.dumps(v, separators=(',', ':'))}" for k, v in content.items()) + "\n}"
    (TARGET / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
