"""A random BERT with 30,000 weights and a WordPiece tokenizer: all of BERT but its knowledge."""

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, set_seed

WORDS = {
    "card": ["card", "post", "delivery", "arrived", "envelope"],
    "rate": ["exchange", "rate", "euro", "dollar", "currency"],
    "pin": ["pin", "code", "digits", "blocked", "forgot"],
}
FILLERS = ["my", "please", "today", "why", "help", "again", "the", "a", "new", "still"]
OTHER = ["карта", "курс", "カード", "率", "بطاقة", "🙂", "é"]


def make_tokenizer():
    """BERT's, with a vocabulary of letters and of the words that the tests use."""
    words = [*FILLERS, *OTHER, *(word for words in WORDS.values() for word in words)]
    letters = [prefix + chr(i) for i in range(ord("a"), ord("z") + 1) for prefix in ("", "##")]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *"0123456789", *words]
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def write_tiny_bert(directory, *, seed=0, marks_ends=True, **special_tokens):
    """Save model and tokenizer to `directory`."""
    tokenizer = make_tokenizer()
    if not marks_ends:
        tokenizer.post_processor = processors.TemplateProcessing(single="$A", special_tokens=[])
    special_tokens = special_tokens or {"pad_token": "[PAD]"}
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", **special_tokens
    ).save_pretrained(directory)
    set_seed(seed)
    BertModel(
        BertConfig(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=64,
            initializer_range=0.2,  # at BERT's 0.02, all texts have nearly one embedding
        )
    ).save_pretrained(directory)
    return directory


def write_texts(n=36):
    """Return texts of different lengths, and their labels."""
    names = list(WORDS)
    texts, labels = [], []
    for i in range(n):
        label = names[i % 3]
        words = WORDS[label]
        fillers = [FILLERS[(i * k) % 10] for k in range(1, 2 + i % 6)]
        texts.append(" ".join([words[i % 5], *fillers, words[(i // 3 + 1) % 5]]))
        labels.append(label)
    return texts, labels
