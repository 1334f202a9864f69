"""Byte-level BPE in CLIP's form: training, encoding, and the two files vocab.json and merges.txt.

Text is lower-cased and its white space joined; words are split by CLIP's pattern; the last
byte of a word carries "</w>". Ids: 0 start, 1 end (also padding), then 256 bytes, 256 closing
bytes, then merges. The end is not 2, since transformers pools at the highest id for that value.
"""

import collections
import json
import os
import re

START, END = "<|startoftext|>", "<|endoftext|>"
CONTEXT = 32
# CLIP's pattern; [^\W\d_] are letters, digits stand alone, the rest goes in runs
PATTERN = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|(?:[^\s\w]|_)+", re.IGNORECASE)


def byte_letters():
    """The printable letter that stands for each byte, as GPT-2 and CLIP have it."""
    plain = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    letters = {b: chr(b) for b in plain}
    extra = 0
    for b in range(256):
        if b not in letters:
            letters[b] = chr(256 + extra)
            extra += 1
    order = plain + [b for b in range(256) if b not in plain]
    return {b: letters[b] for b in order}


LETTERS = byte_letters()


def words_of(text):
    """The words of a text, each as a tuple of byte letters with the closing mark on the last."""
    for word in PATTERN.findall(" ".join(text.lower().split())):
        letters = [LETTERS[b] for b in word.encode("utf-8")]
        letters[-1] += "</w>"
        yield tuple(letters)


def train_merges(texts, limit, min_count=2):
    """Learns merges from texts (text -> count) until limit ids are used or pairs get rare."""
    words = collections.Counter()
    for text, count in texts.items():
        for word in words_of(text):
            words[word] += count
    words = [[list(w), c] for w, c in sorted(words.items())]
    pairs, where = collections.Counter(), collections.defaultdict(set)
    for i, (word, count) in enumerate(words):
        for pair in zip(word, word[1:]):
            pairs[pair] += count
            where[pair].add(i)
    merges = []
    while len(merges) < limit - 514 and pairs:
        best, count = min(pairs.items(), key=lambda kv: (-kv[1], kv[0]))
        if count < min_count:
            break
        merges.append(best)
        for i in sorted(where[best]):
            word, n = words[i]
            for pair in zip(word, word[1:]):
                pairs[pair] -= n
                if pairs[pair] <= 0:
                    del pairs[pair]
            words[i][0] = word = merge(word, best)
            for pair in zip(word, word[1:]):
                pairs[pair] += n
                where[pair].add(i)
        pairs.pop(best, None)
    return merges


def merge(word, pair):
    """Joins each occurrence of a pair in a list of symbols."""
    out, i = [], 0
    while i < len(word):
        if i + 1 < len(word) and (word[i], word[i + 1]) == pair:
            out.append(word[i] + word[i + 1])
            i += 2
        else:
            out.append(word[i])
            i += 1
    return out


class Tokenizer:
    """Encodes texts to id lists with start and end, at most CONTEXT long."""

    def __init__(self, merges):
        self.merges = [tuple(m) for m in merges]
        letters = list(LETTERS.values())
        names = (
            [START, END]
            + letters
            + [c + "</w>" for c in letters]
            + ["".join(m) for m in self.merges]
        )
        self.ids = {name: i for i, name in enumerate(names)}
        self.rank = {m: i for i, m in enumerate(self.merges)}
        self.cache = {}

    def __len__(self):
        return len(self.ids)

    def word(self, letters):
        """Ids of one word."""
        if letters not in self.cache:
            symbols = list(letters)
            while len(symbols) > 1:
                best = min(zip(symbols, symbols[1:]), key=lambda p: self.rank.get(p, 1 << 30))
                if best not in self.rank:
                    break
                symbols = merge(symbols, best)
            self.cache[letters] = [self.ids[s] for s in symbols]
        return self.cache[letters]

    def encode(self, text):
        """Ids of a text: start, words cut to fit, end."""
        ids = [i for word in words_of(text) for i in self.word(word)]
        return [0] + ids[: CONTEXT - 2] + [1]

    def batch(self, texts):
        """Id rows of one length, padded with the end id."""
        rows = [self.encode(t) for t in texts]
        longest = max(map(len, rows))
        return [r + [1] * (longest - len(r)) for r in rows]

    def save(self, folder):
        """Writes vocab.json and merges.txt."""
        with open(os.path.join(folder, "vocab.json"), "w", encoding="utf-8") as f:
            json.dump(self.ids, f, ensure_ascii=False)
        with open(os.path.join(folder, "merges.txt"), "w", encoding="utf-8") as f:
            f.write("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in self.merges))

    @classmethod
    def load(cls, folder):
        """Reads merges.txt; the ids follow from it."""
        with open(os.path.join(folder, "merges.txt"), encoding="utf-8") as f:
            return cls([tuple(line.split()) for line in f.read().splitlines()[1:] if line])
