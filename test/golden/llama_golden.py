"""Writes reference values of tiny Llama models from Hugging Face transformers: logits, gradients, 50 training losses.

    python3 -m venv venv
    venv/bin/pip install torch==2.13.0 transformers==5.23.0 safetensors numpy
    venv/bin/python test/golden/llama_golden.py

README.md in this folder describes the files. All arithmetic is float32 on one thread.
"""

import json
import math
import pathlib

import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

FOLDER = pathlib.Path(__file__).parent / "llama"
STEPS, BATCH, LENGTH = 50, 4, 16
VOCAB = 96

BASE = dict(
    vocab_size=VOCAB,
    hidden_size=32,
    intermediate_size=56,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=32,
    rms_norm_eps=1e-5,
    bos_token_id=None,
    eos_token_id=None,
)
VARIANTS = {
    "untied": dict(tie_word_embeddings=False),
    "tied": dict(tie_word_embeddings=True),
    # A head_dim that is not hidden_size / heads, and another rotary base, with biases on q, k, v and o.
    "bias": dict(tie_word_embeddings=False, attention_bias=True, head_dim=12,
                 rope_parameters=dict(rope_type="default", rope_theta=500.0)),
}

OPTIMIZER = dict(peakLearningRate=1e-2, floor=0.1, warmupSteps=5, betas=[0.9, 0.95], epsilon=1e-8,
                 weightDecay=0.1, clipNorm=1.0)


def learning_rate(step):
    """Linear warm-up that reaches the peak at step warmupSteps - 1, then a cosine down to floor x peak."""
    peak, warmup = OPTIMIZER["peakLearningRate"], OPTIMIZER["warmupSteps"]
    if step < warmup:
        return peak * (step + 1) / warmup
    low = peak * OPTIMIZER["floor"]
    return low + (peak - low) * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (STEPS - warmup)))


def draw_weights(model, generator):
    """Weights large enough for an error anywhere to show; gains off 1 and biases off 0 for the same reason."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            if weight.ndim == 2:
                weight.copy_(noise / math.sqrt(weight.shape[1]))
            else:
                weight.copy_((1.0 if "norm" in name else 0.0) + 0.2 * noise)


def draw_batches(generator):
    """Token sequences of a random Markov chain in which each token has four likely followers: learnable, not trivial."""
    followers = torch.randint(VOCAB, (VOCAB, 4), generator=generator)
    tokens = torch.empty(STEPS, BATCH, LENGTH + 1, dtype=torch.int64)
    tokens[..., 0] = torch.randint(VOCAB, (STEPS, BATCH), generator=generator)
    for t in range(LENGTH):
        choice = torch.randint(4, (STEPS, BATCH), generator=generator)
        tokens[..., t + 1] = followers[tokens[..., t], choice]
    return tokens


def loss_of(model, batch):
    """Mean cross-entropy over all BATCH x LENGTH positions, and the logits."""
    logits = model(input_ids=batch[:, :-1], use_cache=False).logits
    return F.cross_entropy(logits.reshape(-1, VOCAB), batch[:, 1:].reshape(-1)), logits


def train(model, batches):
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [dict(params=matrices, weight_decay=OPTIMIZER["weightDecay"]), dict(params=vectors, weight_decay=0.0)]
    optimizer = torch.optim.AdamW(groups, betas=tuple(OPTIMIZER["betas"]), eps=OPTIMIZER["epsilon"])
    losses, norms, rates = [], [], []
    for step, batch in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        loss, _ = loss_of(model, batch)
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), OPTIMIZER["clipNorm"])
        optimizer.step()
        losses.append(loss.item())
        norms.append(norm.item())
        rates.append(learning_rate(step))
    return losses, norms, rates


def write(name, fields, seed):
    generator = torch.Generator().manual_seed(seed)
    config = LlamaConfig(**BASE, **fields, attn_implementation="sdpa")
    model = LlamaForCausalLM(config).float()
    draw_weights(model, generator)
    batches = draw_batches(generator)
    folder = FOLDER / name
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)

    loss, logits = loss_of(model, batches[0])
    loss.backward()
    tensors = {f"grad.{n}": p.grad.clone() for n, p in model.named_parameters()}
    tensors |= {"logits": logits.detach().contiguous(), "batches": batches.to(torch.int32)}
    save_file(tensors, folder / "golden.safetensors")
    model.zero_grad()

    losses, norms, rates = train(model, batches)
    golden = dict(loss=loss.item(), losses=losses, gradNorms=norms, learningRates=rates, optimizer=OPTIMIZER,
                  versions=dict(torch=torch.__version__, transformers=transformers.__version__))
    (folder / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")
    print(f"{name}: loss {loss.item():.6f}, after {STEPS} steps {losses[-1]:.6f}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for seed, (name, fields) in enumerate(VARIANTS.items()):
        write(name, fields, seed)
