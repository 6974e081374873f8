"""Turns a folder of text into tokens: learns a byte-pair vocabulary, encodes, splits off a test part.

Writes ``<output>/tokens.npy``, ``<output>/vocabulary.json``, and the held-out part beside the output in
``test/`` (``/data/test`` where the output is ``/data/processed``).
"""

import argparse
import collections
import hashlib
import json
import pathlib
import re
import sys
import sysconfig
import time

import numpy as np

SUFFIXES = {".md", ".txt", ".rst", ".py", ".rs", ".toml", ".yaml", ".html"}
CORPUS_LIMIT_BYTES = 1_500_000
MERGES = 384


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--input", type=pathlib.Path, required=True)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    args = parser.parse_args()
    started = time.monotonic()

    documents = list(read(args.input))
    if not documents:
        library = pathlib.Path(sysconfig.get_paths()["stdlib"])
        print(f"{args.input} holds no text; taking Python's own standard library ({library}) instead")
        documents = list(read(library))
    if not documents:
        sys.exit(f"no text found in {args.input}")
    size = sum(len(text) for _, text in documents)
    print(f"read {len(documents)} documents, {size / 1e6:.2f} million characters")

    train, held_out = split(documents)
    merges = learn(train)
    vocabulary = build_vocabulary(merges)
    print(f"learned a vocabulary of {len(vocabulary)} tokens from {len(merges)} merges")

    encode = Encoder(merges, vocabulary)
    train_tokens, test_tokens = encode(train), encode(held_out)
    print(f"encoded {len(train_tokens)} tokens to train on, {len(test_tokens)} held out")

    write(args.output, train_tokens, vocabulary)
    write(args.output.parent / "test", test_tokens, vocabulary)
    print(f"done in {time.monotonic() - started:.1f} s")


def read(folder: pathlib.Path):
    """Text files below ``folder`` in a stable order, up to the corpus limit."""
    total = 0
    for path in sorted(folder.rglob("*")):
        if path.suffix not in SUFFIXES or not path.is_file() or total > CORPUS_LIMIT_BYTES:
            continue
        text = path.read_text(encoding="utf-8", errors="ignore")
        total += len(text)
        yield str(path.relative_to(folder)), text


def split(documents):
    """Every tenth block of lines is held out, so that both parts hold the same kinds of text."""
    train, held_out = [], []
    for name, text in documents:
        lines = text.splitlines(keepends=True)
        for start in range(0, len(lines), 20):
            key = hashlib.sha256(f"{name}:{start}".encode()).digest()[0]
            (held_out if key < 26 else train).append("".join(lines[start : start + 20]))
    return "".join(train), "".join(held_out)


WORD = re.compile(r" ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+")


def learn(text: str):
    """Byte-pair merges: the most frequent neighbour pair becomes one token, again and again."""
    words = collections.Counter(WORD.findall(text))
    pieces = {word: list(word) for word in words}
    pairs = collections.Counter()
    where = collections.defaultdict(set)
    for word, count in words.items():
        for pair in zip(pieces[word], pieces[word][1:]):
            pairs[pair] += count
            where[pair].add(word)
    merges = []
    for _ in range(MERGES):
        if not pairs:
            break
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        if pairs[best] < 2:
            break
        merges.append(best)
        for word in list(where[best]):
            count, old = words[word], pieces[word]
            for pair in zip(old, old[1:]):
                pairs[pair] -= count
                where[pair].discard(word)
            pieces[word] = new = merge(old, best)
            for pair in zip(new, new[1:]):
                pairs[pair] += count
                where[pair].add(word)
        del pairs[best]
    return merges


def merge(pieces, pair):
    merged, index = [], 0
    while index < len(pieces):
        if index + 1 < len(pieces) and (pieces[index], pieces[index + 1]) == pair:
            merged.append(pieces[index] + pieces[index + 1])
            index += 2
        else:
            merged.append(pieces[index])
            index += 1
    return merged


def build_vocabulary(merges):
    """Printable ASCII, line breaks, one token for anything else, then the merges."""
    letters = ["<other>", "\n", "\t", *(chr(code) for code in range(32, 127))]
    return letters + [left + right for left, right in merges]


class Encoder:
    """Applies the merges in the order in which they were learned; each word is worked out once."""

    def __init__(self, merges, vocabulary):
        self.rank = {pair: index for index, pair in enumerate(merges)}
        self.number = {token: index for index, token in enumerate(vocabulary)}
        self.known = {}

    def __call__(self, text: str) -> np.ndarray:
        tokens = []
        for word in WORD.findall(text):
            if word not in self.known:
                self.known[word] = self.encode(word)
            tokens.extend(self.known[word])
        return np.array(tokens, dtype=np.uint16)

    def encode(self, word: str):
        pieces = list(word)
        while len(pieces) > 1:
            best = min(zip(pieces, pieces[1:]), key=lambda pair: self.rank.get(pair, len(self.rank)))
            if best not in self.rank:
                break
            pieces = merge(pieces, best)
        return [self.number.get(piece, 0) for piece in pieces]


def write(folder: pathlib.Path, tokens: np.ndarray, vocabulary) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "tokens.npy", tokens)
    (folder / "vocabulary.json").write_text(json.dumps(vocabulary))
    print(f"wrote {folder}: {tokens.nbytes / 1e6:.2f} MB of tokens")


if __name__ == "__main__":
    main()
