"""Writes the reference vectors and the tiny models of the parity tests.

    python make_reference.py minilm FOLDER   sentence-transformers over texts.json
    python make_reference.py tiny            seeded random BERTs and their vectors

Needs sentence-transformers, transformers, torch, safetensors and tokenizers. Vectors are
f32, little-endian, row-major, one row for each text.
"""

import json
import pathlib
import sys

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel

HERE = pathlib.Path(__file__).parent
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def minilm(folder):
    from sentence_transformers import SentenceTransformer

    texts = json.loads((HERE / "texts.json").read_text())
    model = SentenceTransformer(folder, device="cpu")
    # tokenizer.json bakes in padding to 128 tokens; the model was meant for 256.
    model.max_seq_length = 256
    vectors = model.encode(texts, batch_size=1, convert_to_numpy=True)
    assert vectors.shape == (len(texts), 384), vectors.shape
    vectors.astype("<f4").tofile(HERE / "minilm.f32")


def tiny_tokenizer():
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    words = "the cat dog house river query passage hello world how tall is a tower".split()
    entries = SPECIAL + list(letters) + ["##" + letter for letter in letters]
    entries += [word for word in words if word not in entries] + list(".,:;!?-'\"()")
    vocabulary = {entry: index for index, entry in enumerate(entries)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(mark, vocabulary[mark]) for mark in ("[CLS]", "[SEP]")],
    )
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer, len(entries)


def pool(states, mode):
    if mode == "cls":
        return states[0]
    return states[-1] if mode == "lasttoken" else states.mean(0)


def tiny(name, seed, mode, normalise, dtype, prefix, text_prefix, files):
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    tokenizer, size = tiny_tokenizer()
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=size,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=48,
        layer_norm_eps=1e-5,
    )
    model = BertModel(config).eval()
    tensors = {}
    with torch.no_grad():
        for key, value in model.named_parameters():
            # Wide enough that every layer, head and bias changes the answer visibly.
            value.copy_((torch.randn(value.shape) * 0.3 + ("LayerNorm.weight" in key)).to(dtype))
            tensors[prefix + key] = value.to(dtype).contiguous().clone()
        for key in [key for key in tensors if "position_ids" in key]:
            del tensors[key]
        vectors = []
        for text in json.loads((HERE / "tiny_texts.json").read_text()):
            ids = tokenizer.encode(text_prefix + text).ids
            ids = ids if len(ids) <= 48 else ids[:47] + ids[-1:]
            states = model(torch.tensor([ids])).last_hidden_state[0]
            vector = pool(states, mode)
            vectors.append(torch.nn.functional.normalize(vector, dim=0) if normalise else vector)
    save_file(tensors, folder / "model.safetensors")
    # Traps: a limit and a padding that the loader must not obey.
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=8)
    tokenizer.save(str(folder / "tokenizer.json"))
    fields = config.to_dict() | {"model_type": "bert"}
    files = files | {"config.json": fields}
    for path, content in files.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    torch.stack(vectors).numpy().astype("<f4").tofile(folder / "reference.f32")


def tiny_all():
    kind = "sentence_transformers.models."
    first = [
        {"idx": 0, "name": "0", "path": "", "type": kind + "Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": kind + "Pooling"},
    ]
    last = [{"idx": 2, "name": "2", "path": "2_Normalize", "type": kind + "Normalize"}]
    old = {
        "word_embedding_dimension": 32,
        "pooling_mode_cls_token": True,
        "pooling_mode_mean_tokens": False,
        "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False,
    }
    new = {"embedding_dimension": 32, "pooling_mode": "mean", "include_prompt": True}
    bge = {"modules.json": first, "1_Pooling/config.json": old}
    e5 = {"modules.json": first + last, "1_Pooling/config.json": new}
    tiny("tiny_bge", 1, "cls", False, torch.float32, "", "", bge)
    tiny("tiny_e5", 2, "mean", True, torch.bfloat16, "bert.", "query: ", e5)
    tiny("tiny_last", 3, "lasttoken", False, torch.float16, "", "", {})


if __name__ == "__main__":
    if sys.argv[1:2] == ["minilm"]:
        minilm(sys.argv[2])
    elif sys.argv[1:] == ["tiny"]:
        tiny_all()
    else:
        sys.exit(__doc__)
