"""Fits a small neural language model: a window of tokens predicts the next one.

The network embeds the last eight tokens, passes them through one hidden layer, and is trained with Adam on
cross-entropy, all in numpy. Writes ``<output>/model.npz`` and ``<output>/history.json``.
"""

import argparse
import json
import pathlib
import sys
import time

import numpy as np

WINDOW = 8
EMBEDDING = 32
HIDDEN = 160
BATCH = 512


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--lr", type=float, default=0.004)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()

    tokens = np.load(args.data / "tokens.npy").astype(np.int64)
    vocabulary = json.loads((args.data / "vocabulary.json").read_text())
    if len(tokens) <= WINDOW + BATCH:
        sys.exit(f"{args.data} holds only {len(tokens)} tokens")
    print(f"{len(tokens)} tokens, vocabulary {len(vocabulary)}, {args.steps} steps of {BATCH}")

    rng = np.random.default_rng(args.seed)
    model = initial(rng, len(vocabulary))
    print(f"{sum(weights.size for weights in model.values())} parameters")
    history = fit(model, tokens, rng, args.lr, args.steps)

    first, last = history[0]["loss"], history[-1]["loss"]
    args.output.mkdir(parents=True, exist_ok=True)
    np.savez(args.output / "model.npz", **model)
    (args.output / "history.json").write_text(json.dumps(history))
    print(f"loss fell from {first:.3f} to {last:.3f}; wrote {args.output}")
    if not last < 0.8 * first:
        sys.exit("the loss did not fall clearly; nothing was learned")


def initial(rng, size):
    """Small random weights; the output layer starts at zero, so the first guess is uniform."""
    scale = 1 / np.sqrt(WINDOW * EMBEDDING)
    return {
        "embedding": rng.normal(0, 0.1, (size, EMBEDDING)).astype(np.float32),
        "hidden": rng.normal(0, scale, (WINDOW * EMBEDDING, HIDDEN)).astype(np.float32),
        "hidden_bias": np.zeros(HIDDEN, np.float32),
        "output": np.zeros((HIDDEN, size), np.float32),
        "output_bias": np.zeros(size, np.float32),
    }


def fit(model, tokens, rng, rate, steps):
    """Adam with a linear decay of the rate; returns the loss every twentieth of the way."""
    first = {name: np.zeros_like(weights) for name, weights in model.items()}
    second = {name: np.zeros_like(weights) for name, weights in model.items()}
    history, recent = [], []
    report_every = max(1, steps // 20)
    started = time.monotonic()
    for step in range(1, steps + 1):
        ends = rng.integers(WINDOW, len(tokens), BATCH)
        context = tokens[ends[:, None] + np.arange(-WINDOW, 0)]
        loss, gradients = backward(model, context, tokens[ends])
        recent.append(loss)
        pace = rate * (1 - 0.9 * step / steps)
        for name, gradient in gradients.items():
            first[name] += 0.1 * (gradient - first[name])
            second[name] += 0.001 * (gradient**2 - second[name])
            mean = first[name] / (1 - 0.9**step)
            spread = second[name] / (1 - 0.999**step)
            model[name] -= pace * mean / (np.sqrt(spread) + 1e-8)
        if step == 1 or step % report_every == 0:
            history.append({"step": step, "loss": float(np.mean(recent))})
            print(f"step {step:5d}/{steps}  loss {np.mean(recent):.3f}  {time.monotonic() - started:5.1f} s", flush=True)
            recent = []
    return history


def backward(model, context, target):
    """Cross-entropy of one batch and its gradient by every weight."""
    embedded = model["embedding"][context].reshape(len(context), -1)
    hidden = np.tanh(embedded @ model["hidden"] + model["hidden_bias"])
    logits = hidden @ model["output"] + model["output_bias"]
    logits -= logits.max(axis=1, keepdims=True)
    odds = np.exp(logits)
    odds /= odds.sum(axis=1, keepdims=True)
    rows = np.arange(len(target))
    loss = -np.log(odds[rows, target] + 1e-12).mean()
    odds[rows, target] -= 1
    odds /= len(target)
    into_hidden = (odds @ model["output"].T) * (1 - hidden**2)
    into_embedding = np.zeros_like(model["embedding"])
    into_context = (into_hidden @ model["hidden"].T).reshape(*context.shape, EMBEDDING)
    np.add.at(into_embedding, context, into_context)
    return loss, {
        "embedding": into_embedding,
        "hidden": embedded.T @ into_hidden,
        "hidden_bias": into_hidden.sum(axis=0),
        "output": hidden.T @ odds,
        "output_bias": odds.sum(axis=0),
    }


if __name__ == "__main__":
    main()
