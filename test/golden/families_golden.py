"""Writes reference values of tiny models of every family but Llama from Hugging Face transformers: logits, loss, gradients.

    python3 -m venv venv
    venv/bin/pip install torch==2.13.0 transformers==5.23.0 safetensors numpy
    venv/bin/python test/golden/families_golden.py

README.md in this folder describes the files. All arithmetic is float32 on one thread, with the eager attention.
"""

import json
import math
import pathlib
import shutil

import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import save_file

FOLDER = pathlib.Path(__file__).parent / "families"
BATCH, LENGTH, VOCAB = 2, 12, 48
# Greedy continuation: tokens of the prompt, tokens made.
PROMPT, MADE = 7, 12

GROUPED = dict(
    vocab_size=VOCAB, hidden_size=16, intermediate_size=28, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=32, bos_token_id=None, eos_token_id=None, pad_token_id=None,
)
PLAIN = {k: v for k, v in GROUPED.items() if k != "num_key_value_heads"}

VARIANTS = {
    "gpt2": ("GPT2", dict(vocab_size=VOCAB, n_embd=16, n_layer=2, n_head=4, n_positions=24, n_inner=36, resid_pdrop=0.0,
                          embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=None, eos_token_id=None)),
    "gpt2-inverse": ("GPT2", dict(vocab_size=VOCAB, n_embd=16, n_layer=2, n_head=2, n_positions=24, resid_pdrop=0.0,
                                  embd_pdrop=0.0, attn_pdrop=0.0, activation_function="gelu", tie_word_embeddings=False,
                                  scale_attn_by_inverse_layer_idx=True, bos_token_id=None, eos_token_id=None)),
    "qwen2": ("Qwen2", dict(**GROUPED, rope_parameters=dict(rope_type="default", rope_theta=1e6))),
    "qwen2-window": ("Qwen2", dict(**GROUPED, use_sliding_window=True, sliding_window=4, max_window_layers=1,
                                   tie_word_embeddings=True)),
    "qwen3": ("Qwen3", dict(**GROUPED, head_dim=12, rope_parameters=dict(rope_type="default", rope_theta=1e6))),
    "qwen3-bias": ("Qwen3", dict(**GROUPED, head_dim=8, attention_bias=True, tie_word_embeddings=True)),
    "mistral": ("Mistral", dict(**GROUPED, sliding_window=5)),
    "mistral-full": ("Mistral", dict(**GROUPED, head_dim=16, sliding_window=None)),
    "gpt_neox": ("GPTNeoX", dict(**PLAIN, rotary_pct=0.5)),
    "gpt_neox-sequential": ("GPTNeoX", dict(**PLAIN, rope_parameters=dict(rope_type="default", rope_theta=500.0,
                            partial_rotary_factor=1.0), use_parallel_residual=False, attention_bias=False,
                            hidden_act="gelu_new")),
    "olmo2": ("Olmo2", dict(**GROUPED)),
    "olmo2-bias": ("Olmo2", dict(**PLAIN, attention_bias=True, tie_word_embeddings=True)),
    "gemma2": ("Gemma2", dict(**GROUPED, head_dim=12, query_pre_attn_scalar=10, sliding_window=5,
                              attn_logit_softcapping=4.0, final_logit_softcapping=3.0)),
    "gemma2-plain": ("Gemma2", dict(**GROUPED, head_dim=8, query_pre_attn_scalar=8, sliding_window=64,
                                    attn_logit_softcapping=None, final_logit_softcapping=None,
                                    tie_word_embeddings=False)),
}


def draw_weights(model, generator, gain):
    """Weights large enough for an error anywhere to show; gains off their neutral value and biases off 0 for the same reason."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            if weight.ndim == 2:
                weight.copy_(noise / math.sqrt(model.config.hidden_size))
            else:
                is_gain = name.endswith("weight")
                weight.copy_((gain if is_gain else 0.0) + 0.2 * noise)


def greedy_tokens(model, prompt):
    """The most probable continuation, token by token, each from the whole sequence."""
    sequence = prompt[None]
    with torch.no_grad():
        for _ in range(MADE):
            sequence = torch.cat([sequence, model(input_ids=sequence, use_cache=False).logits[:, -1:].argmax(-1)], 1)
    return sequence[0, len(prompt):].tolist()


def write(name, prefix, fields, seed):
    generator = torch.Generator().manual_seed(seed)
    config = getattr(transformers, f"{prefix}Config")(**fields, attn_implementation="eager")
    kind = "GPT2LMHeadModel" if prefix == "GPT2" else f"{prefix}ForCausalLM"
    model = getattr(transformers, kind)(config).float().eval()
    draw_weights(model, generator, 0.0 if prefix == "Gemma2" else 1.0)
    tokens = torch.randint(VOCAB, (BATCH, LENGTH + 1), generator=generator)
    folder = FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)

    logits = model(input_ids=tokens[:, :-1], use_cache=False).logits
    loss = F.cross_entropy(logits.reshape(-1, VOCAB), tokens[:, 1:].reshape(-1))
    loss.backward()
    # transformers 5 calls GPT-NeoX's head lm_head but stores it under its old name.
    stored = {"lm_head.weight": "embed_out.weight"} if prefix == "GPTNeoX" else {}
    tensors = {f"grad.{stored.get(n, n)}": p.grad.clone() for n, p in model.named_parameters()}
    tensors |= {"logits": logits.detach().contiguous(), "tokens": tokens.to(torch.int32)}
    save_file(tensors, folder / "golden.safetensors")
    greedy = greedy_tokens(model, tokens[0, :PROMPT])
    golden = dict(loss=loss.item(), greedy=greedy, versions=dict(torch=torch.__version__, transformers=transformers.__version__))
    (folder / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")
    print(f"{name}: loss {loss.item():.6f}, largest logit {logits.abs().max().item():.3f}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for seed, (name, (prefix, fields)) in enumerate(VARIANTS.items()):
        write(name, prefix, fields, 100 + seed)
