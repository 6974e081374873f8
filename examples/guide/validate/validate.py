"""Judges the model on text that it has not seen: its perplexity against that of token frequencies alone.

Fails (exit code 1) when the model is not better than the baseline.
"""

import argparse
import json
import pathlib
import sys

import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    args = parser.parse_args()

    model = dict(np.load(args.model / "model.npz"))
    tokens = np.load(args.data / "tokens.npy").astype(np.int64)
    vocabulary = json.loads((args.data / "vocabulary.json").read_text())
    size = len(vocabulary)
    if model["embedding"].shape[0] != size:
        sys.exit(f"the model knows {model['embedding'].shape[0]} tokens, the test data has {size}")

    # The output bias of a trained network is no fair baseline; the test text's own frequencies are the hardest one.
    counts = np.bincount(tokens, minlength=size) + 1.0
    unigram = float(np.exp(-(np.log(counts / counts.sum())[tokens]).mean()))
    perplexity = float(np.exp(loss(model, tokens)))

    report = {"perplexity": round(perplexity, 2), "unigram_perplexity": round(unigram, 2), "tokens": len(tokens)}
    (args.model / "validation.json").write_text(json.dumps(report))
    print(json.dumps(report))
    print(f"held-out perplexity {perplexity:.2f}, unigram baseline {unigram:.2f} ({unigram / perplexity:.1f} times better)")
    if not perplexity < unigram:
        sys.exit("the model is not better than the unigram baseline")


def loss(model, tokens) -> float:
    """Mean cross-entropy, in nats a token."""
    embedding = model["embedding"].shape[1]
    window = model["hidden"].shape[0] // embedding
    total, count = 0.0, 0
    for start in range(window, len(tokens), 4096):
        ends = np.arange(start, min(start + 4096, len(tokens)))
        context = tokens[ends[:, None] + np.arange(-window, 0)]
        hidden = np.tanh(model["embedding"][context].reshape(len(ends), -1) @ model["hidden"] + model["hidden_bias"])
        logits = hidden @ model["output"] + model["output_bias"]
        logits -= logits.max(axis=1, keepdims=True)
        total -= (logits[np.arange(len(ends)), tokens[ends]] - np.log(np.exp(logits).sum(axis=1))).sum()
        count += len(ends)
    return total / count


if __name__ == "__main__":
    main()
