"""Writes tiny seeded models of every family and what transformers makes of them.

    python make_families.py [FAMILY...]    all families, or those named

Needs transformers, torch, tokenizers and pillow. Each folder under families/ gets
config.json, tokenizer.json and model.safetensors (half precision; the reference computes
in float32 with the same numbers) and expected.json with the ids and the values of each case.
"""

import json
import pathlib
import sys

import torch
import transformers as t
from make_reference import tiny_tokenizer
from PIL import Image
from tokenizers import (
    Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers,
)

HERE = pathlib.Path(__file__).parent
ROOT = HERE / "families"
LIMIT = 48
TEXTS = [
    "a",
    "The cat sat on the mat.",
    "東京は日本の首都です。",
    "検索エンジンのための文章の埋め込み、ﾃｽﾄ。",
    "Wo liegt Zürich, und wie groß?",
    "Сколько времени? Τι ώρα είναι;",
    "house 42: \"river\" (query)",
    "passage " * 60,
]
PAIRS = [
    ("a", "b"),
    ("how tall is the tower", "the tower is tall"),
    ("東京の人口", "東京は日本の首都です。"),
    ("short", "a long passage " * 40),
    ("a long query " * 40, "short"),
    ("a long query " * 40, "and a long passage " * 40),
]


def special(tokenizer, before, after, pair, names):
    tokenizer.add_special_tokens(names)
    marks = [(name, tokenizer.token_to_id(name)) for name in names]
    single = " ".join(before + ["$A"] + after)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=single, pair=pair or f"{single} $B:1", special_tokens=marks
    )
    return tokenizer


def unigram():
    names = ["<s>", "<pad>", "</s>", "<unk>"]
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=names + ["<mask>"], unk_token="<unk>"
    )
    tokenizer.train_from_iterator(TEXTS * 3 + [a + " " + b for a, b in PAIRS], trainer)
    return special(tokenizer, ["<s>"], ["</s>"], "<s> $A </s> </s> $B </s>", names)


def byte_level(before, after, pair, names):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=names, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return special(tokenizer, before, after, pair, names)


def word_piece():
    tokenizer, _ = tiny_tokenizer()
    pair = "[CLS] $A [SEP] $B:1 [SEP]:1"
    return special(tokenizer, ["[CLS]"], ["[SEP]"], pair, ["[CLS]", "[SEP]"])


def clip_tokenizer():
    names = ["<|startoftext|>", "<|endoftext|>"]
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token="<|endoftext|>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        end_of_word_suffix="</w>",
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return special(tokenizer, names[:1], names[1:], None, names)


def randomise(model, seed):
    """Wide enough that every layer, head and bias changes the answer visibly."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for key, value in model.named_parameters():
            scale = "norm" in key.lower() and key.endswith("weight")
            value.copy_(torch.randn(value.shape) * 0.3 + float(scale))
    return model.half().eval()


def write(name, model, tokenizer, cases, **extra):
    folder = ROOT / name
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    tokenizer.no_truncation()
    tokenizer.save(str(folder / "tokenizer.json"))
    # Read again in full precision: tables that are computed and not stored, as the rotary
    # encoding's, would otherwise stay in half.
    kind = type(model)
    model = kind.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        found = [case(model, tokenizer) for case in cases]
    text = json.dumps({"cases": found} | extra, ensure_ascii=False, indent=0)
    (folder / "expected.json").write_text(text + "\n")


def numbers(vector):
    return [round(float(value), 7) for value in vector]


def read(tokenizer, first, second=None, limit=LIMIT):
    tokenizer.enable_truncation(limit, strategy="longest_first")
    return tokenizer.encode(first, second) if second is not None else tokenizer.encode(first)


def inputs(encoding, types):
    fields = {"input_ids": torch.tensor([encoding.ids])}
    if types:
        fields["token_type_ids"] = torch.tensor([encoding.type_ids])
    return fields


def one(pool, first, second=None, types=False, limit=LIMIT):
    def case(model, tokenizer):
        encoding = read(tokenizer, first, second, limit)
        values = pool(model(**inputs(encoding, types)))
        return {"first": first, "second": second, "ids": encoding.ids, "values": numbers(values)}

    return case


def mean(output):
    return torch.nn.functional.normalize(output.last_hidden_state[0].mean(0), dim=0)


def last(output):
    return torch.nn.functional.normalize(output.last_hidden_state[0][-1], dim=0)


def score(output):
    return output.logits[0]


def splade(output):
    return torch.log1p(torch.relu(output.logits[0])).amax(0)


SMALL = dict(
    hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
    attn_implementation="eager",
)
DISTIL = dict(dim=32, n_layers=2, n_heads=4, hidden_dim=64, max_position_embeddings=LIMIT,
              attn_implementation="eager")
ROBERTA = SMALL | dict(
    max_position_embeddings=LIMIT + 2, pad_token_id=1, bos_token_id=0, eos_token_id=2,
    type_vocab_size=1, layer_norm_eps=1e-5,
)
BERT = SMALL | dict(max_position_embeddings=LIMIT)


def xlm_roberta():
    tokenizer = unigram()
    config = t.XLMRobertaConfig(vocab_size=tokenizer.get_vocab_size(), **ROBERTA)
    model = randomise(t.XLMRobertaModel(config), 11)
    write("xlm_roberta", model, tokenizer, [one(mean, text) for text in TEXTS])


def roberta():
    names = ["<s>", "<pad>", "</s>", "<unk>"]
    tokenizer = byte_level(["<s>"], ["</s>"], "<s> $A </s> </s> $B </s>", names)
    config = t.RobertaConfig(vocab_size=tokenizer.get_vocab_size(), **ROBERTA)
    model = randomise(t.RobertaForMaskedLM(config), 12).roberta
    write("roberta", model, tokenizer, [one(mean, text) for text in TEXTS])


def distilbert():
    tokenizer = word_piece()
    config = t.DistilBertConfig(vocab_size=tokenizer.get_vocab_size(), **DISTIL)
    model = randomise(t.DistilBertModel(config), 13)
    write("distilbert", model, tokenizer, [one(mean, text) for text in TEXTS])


def cross(name, kind, config, tokenizer, types, seed):
    config = config(vocab_size=tokenizer.get_vocab_size(), num_labels=1, **types[1])
    model = randomise(kind(config), seed)
    write(name, model, tokenizer, [one(score, a, b, types[0]) for a, b in PAIRS])


def cross_bert():
    kind, config = t.BertForSequenceClassification, t.BertConfig
    cross("cross_bert", kind, config, word_piece(), (True, BERT), 14)


def cross_xlm_roberta():
    kind, config = t.XLMRobertaForSequenceClassification, t.XLMRobertaConfig
    cross("cross_xlm_roberta", kind, config, unigram(), (False, ROBERTA), 15)


def cross_distilbert():
    kind, config = t.DistilBertForSequenceClassification, t.DistilBertConfig
    cross("cross_distilbert", kind, config, word_piece(), (False, DISTIL), 16)


END = "<|endoftext|>"


def decoder(name, kind, config, seed, tokenizer, **fields):
    shape = dict(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, attn_implementation="eager",
    )
    config = config(vocab_size=tokenizer.get_vocab_size(), **(shape | fields))
    model = randomise(kind(config), seed)
    write(name, model, tokenizer, [one(last, PROMPT + text, limit=64) for text in TEXTS])


PROMPT = "Instruct: find it\nQuery: "


def qwen3():
    tokenizer = byte_level([], [END], None, [END])
    decoder("qwen3", t.Qwen3Model, t.Qwen3Config, 17, tokenizer, head_dim=16)


def qwen2():
    tokenizer = byte_level([], [], None, [END])
    decoder("qwen2", t.Qwen2Model, t.Qwen2Config, 18, tokenizer)


def mistral():
    tokenizer = byte_level(["<s>"], ["</s>"], None, ["<unk>", "<s>", "</s>"])
    decoder("mistral", t.MistralModel, t.MistralConfig, 19, tokenizer, sliding_window=None)


def llama():
    tokenizer = byte_level(["<s>"], [], None, ["<unk>", "<s>", "</s>"])
    kind, config = t.LlamaModel, t.LlamaConfig
    decoder("llama", kind, config, 20, tokenizer, num_key_value_heads=4)


def splade_bert():
    tokenizer = word_piece()
    config = t.BertConfig(vocab_size=tokenizer.get_vocab_size(), **BERT)
    model = randomise(t.BertForMaskedLM(config), 21)
    write("splade_bert", model, tokenizer, [one(splade, text, types=True) for text in TEXTS])


def splade_distilbert():
    tokenizer = word_piece()
    config = t.DistilBertConfig(vocab_size=tokenizer.get_vocab_size(), **DISTIL)
    model = randomise(t.DistilBertForMaskedLM(config), 22)
    write("splade_distilbert", model, tokenizer, [one(splade, text) for text in TEXTS])


def picture(width, height, mode):
    image = Image.new(mode, (width, height))
    for x in range(width):
        for y in range(height):
            red, green = (x * 255) // width, (y * 255) // height
            blue = 255 if ((x // 7) + (y // 5)) % 2 else 40
            full = (red, green, blue, 128)
            image.putpixel((x, y), full[: len(mode)] if mode != "L" else (red + blue) // 2)
    return image


PICTURES = [
    ("wide.png", 90, 50, "RGB"),
    ("tall.png", 23, 61, "RGBA"),
    ("small.png", 9, 12, "L"),
    ("photo.jpg", 80, 64, "RGB"),
]


def clip():
    tokenizer = clip_tokenizer()
    side = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4)
    ids = dict(bos_token_id=tokenizer.token_to_id("<|startoftext|>"),
               eos_token_id=tokenizer.token_to_id(END), pad_token_id=0)
    config = t.CLIPConfig(
        text_config=side | ids | dict(
            vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=32),
        vision_config=side | dict(image_size=32, patch_size=8),
        projection_dim=24,
    )
    model = randomise(t.CLIPModel(config), 23)
    folder = ROOT / "clip"
    folder.mkdir(parents=True, exist_ok=True)
    kind = getattr(t, "CLIPImageProcessorPil", t.CLIPImageProcessor)
    processor = kind(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    processor.save_pretrained(folder)

    def vector(output):
        output = output if torch.is_tensor(output) else output.pooler_output
        return torch.nn.functional.normalize(output[0], dim=0)

    def text(first):
        def case(model, tokenizer):
            encoding = read(tokenizer, first, limit=32)
            found = vector(model.get_text_features(**inputs(encoding, False)))
            return {"first": first, "ids": encoding.ids, "values": numbers(found)}

        return case

    def image(name):
        def case(model, _):
            pixels = processor(Image.open(folder / name), return_tensors="pt")["pixel_values"]
            found = vector(model.get_image_features(pixel_values=pixels))
            return {"image": name, "values": numbers(found)}

        return case

    for name, width, height, mode in PICTURES:
        picture(width, height, mode).save(folder / name)
    cases = [text(first) for first in TEXTS] + [image(name) for name, *_ in PICTURES]
    write("clip", model, tokenizer, cases)


FAMILIES = [
    xlm_roberta, roberta, distilbert, cross_bert, cross_xlm_roberta, cross_distilbert,
    qwen3, qwen2, mistral, llama, splade_bert, splade_distilbert, clip,
]

if __name__ == "__main__":
    for family in FAMILIES:
        if family.__name__ in sys.argv[1:] or len(sys.argv) == 1:
            family()
