"""Makes models of random weights and a few kilobytes, one for each task: `tiny_models.py FOLDER`, run by the Python of
the engine's environment."""

from __future__ import annotations

import pathlib
import sys
from typing import Any

import torch
import transformers as T
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

ROOT = pathlib.Path(sys.argv[1])
TEXTS = ["the film was good", "the film was bad", "hello my name is bo", "a good day in paris", "what is this ?"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "<s>", "</s>"]

torch.manual_seed(0)
words = Tokenizer(models.WordPiece(unk_token="[UNK]"))
words.pre_tokenizer = pre_tokenizers.Whitespace()
words.train_from_iterator(TEXTS, trainers.WordPieceTrainer(vocab_size=200, special_tokens=SPECIAL))
words.post_processor = processors.TemplateProcessing(
    single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
)
tokenizer = T.PreTrainedTokenizerFast(
    tokenizer_object=words, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
    mask_token="[MASK]", bos_token="<s>", eos_token="</s>", model_max_length=64,
)  # fmt: skip
SIZE = len(tokenizer)
BERT: dict[str, Any] = {
    "vocab_size": SIZE, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 37,
    "max_position_embeddings": 64,
}  # fmt: skip
ENTAILMENT = {"contradiction": 0, "neutral": 1, "entailment": 2}
BART = T.BartConfig(
    vocab_size=SIZE, d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
    decoder_attention_heads=2, encoder_ffn_dim=37, decoder_ffn_dim=37, max_position_embeddings=64, pad_token_id=0,
    bos_token_id=5, eos_token_id=6, decoder_start_token_id=5, forced_eos_token_id=6,
)  # fmt: skip
T5 = T.T5Config(
    vocab_size=SIZE, d_model=32, d_kv=16, d_ff=37, num_layers=1, num_heads=2, pad_token_id=0, eos_token_id=6,
    decoder_start_token_id=0,
)  # fmt: skip
GPT = T.GPT2Config(
    vocab_size=SIZE, n_embd=32, n_layer=1, n_head=2, n_positions=64, bos_token_id=5, eos_token_id=6
)


def save(name: str, kind: str, config: Any) -> None:
    getattr(T, kind).from_config(config).save_pretrained(ROOT / name)
    tokenizer.save_pretrained(ROOT / name)


save("text-classification", "AutoModelForSequenceClassification", T.BertConfig(**BERT, num_labels=2))
save(
    "zero-shot-classification",
    "AutoModelForSequenceClassification",
    T.BertConfig(**BERT, num_labels=3, label2id=ENTAILMENT, id2label={n: name for name, n in ENTAILMENT.items()}),
)
save("token-classification", "AutoModelForTokenClassification", T.BertConfig(**BERT, num_labels=3))
save("fill-mask", "AutoModelForMaskedLM", T.BertConfig(**BERT))
save("feature-extraction", "AutoModel", T.BertConfig(**BERT))
save("question-answering", "AutoModelForQuestionAnswering", T.BertConfig(**BERT))
save("text-generation", "AutoModelForCausalLM", GPT)
save("summarization", "AutoModelForSeq2SeqLM", BART)
save("translation", "AutoModelForSeq2SeqLM", T5)
