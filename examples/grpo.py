"""A training loop of GRPO's kind in its shortest form, and what logdrift adds to it:
the calls marked with "# <-".

    python examples/grpo.py --model FOLDER --out runs/grpo

needs torch, Transformers and logdrift. The rollout model computes in bfloat16, as an
engine does, and the trainer in float32: their gap is real. It is no recipe for a good
model.
"""

from __future__ import annotations

import argparse

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import logdrift

PROMPTS = ["The capital of France is", "Two and two make"]
GROUP = 2
"""Completions of each prompt."""


def logprobs_of(logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """The log-probability of each id, nats."""
    logprobs = torch.log_softmax(logits.float(), dim=-1)
    return logprobs.gather(-1, ids.unsqueeze(-1)).squeeze(-1)


def sampled(model, prompts: torch.Tensor, tokens: int):
    """Completions and what the rollout model says of them."""
    out = model.generate(
        prompts,
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        min_new_tokens=tokens,
        max_new_tokens=tokens,
        output_logits=True,
        return_dict_in_generate=True,
    )
    completions = out.sequences[:, prompts.shape[1] :]
    logits = torch.stack(out.logits, dim=1)
    return completions, logprobs_of(logits, completions)


def scored(model, prompts: torch.Tensor, completions: torch.Tensor) -> torch.Tensor:
    """What the trainer says of the same tokens, with a gradient."""
    whole = torch.cat([prompts, completions], dim=1)
    logits = model(whole).logits[:, prompts.shape[1] - 1 : -1]
    return logprobs_of(logits, completions)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=16)
    args = parser.parse_args()
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    trainer = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32)
    rollout = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.bfloat16)
    optimizer = torch.optim.SGD(trainer.parameters(), lr=1e-4)

    recorder = logdrift.record(args.out, model=args.model)  # <-
    for step in range(args.steps):
        for prompt in PROMPTS:
            ids = tokenizer(prompt, return_tensors="pt").input_ids
            prompts = ids.repeat(GROUP, 1)  # of one length, so nothing is padded
            completions, rollout_logprobs = sampled(rollout, prompts, args.tokens)
            texts = tokenizer.batch_decode(completions)
            rewards = torch.tensor([float(len(set(text))) for text in texts])
            advantages = (rewards - rewards.mean()) / (rewards.std() + 1e-6)

            trainer_logprobs = scored(trainer, prompts, completions)
            ratio = (trainer_logprobs - rollout_logprobs).exp()
            loss = -(ratio * advantages.unsqueeze(-1)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

            recorder.add(  # <-
                prompts,
                completions,
                {"trainer": trainer_logprobs, "rollout": rollout_logprobs},
                step=step,
                versions=step,
                rewards=rewards,
            )
        # The engine gets the new weights.
        rollout.load_state_dict(trainer.state_dict())
        print(
            step, recorder.metrics("verl")
        )  # <- W&B: wandb.log(recorder.metrics(...))
    recorder.close()


if __name__ == "__main__":
    main()
