"""Trains the bundled model: contrastive, from nothing, on a few processor cores.

    train.py --minutes 80 [--work .train] [--processes 2]

One process per core, one thread each; gradients are averaged once per step. The learning rate,
the picture size (64, then 128 with half the patches dropped, then all) and the end follow the
training time spent, so that a busy machine gives fewer steps but the same schedule. Every few
minutes all state goes to WORK/checkpoint.pt (by rename); --resume goes on from there.
"""

import argparse
import copy
import math
import os
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F

import model as clip
from batches import Batches
from tokenizer import Tokenizer

SMALL_UNTIL, DROP_UNTIL = 0.40, 0.88  # shares of the time: 64 pixels; half the patches
WARM_UP, CLIP_NORM, EMA = 0.04, 1.0, 0.998
LABEL_WEIGHT = 0.5


def contrastive(images, texts, scale, truth):
    """Cross entropy both ways; each target is spread evenly over everything true in the batch."""
    logits = scale * images @ texts.T
    by_image = truth / truth.sum(1, keepdim=True)
    by_text = truth / truth.sum(0, keepdim=True)
    one = -(by_image * F.log_softmax(logits, 1)).sum(1).mean()
    two = -(by_text * F.log_softmax(logits, 0)).sum(0).mean()
    return (one + two) / 2


def schedule(progress, peak):
    """Learning rate, picture edge and share of patches kept at a share of the time spent."""
    if progress < WARM_UP:
        rate = peak * max(progress, 1e-4) / WARM_UP
    else:
        rate = 1e-6 + (peak - 1e-6) * 0.5 * (
            1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP))
        )
    if progress < SMALL_UNTIL:
        return rate, 64, 1.0
    return rate, 128, 0.5 if progress < DROP_UNTIL else 1.0


def optimiser(modules, rate):
    """AdamW; no decay on vectors, embeddings and the logit scale."""
    decay, plain = [], []
    for module in modules:
        for name, p in module.named_parameters():
            (
                plain if p.ndim < 2 or "embedding.weight" in name and "patch" not in name else decay
            ).append(p)
    groups = [{"params": decay, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), eps=1e-6, foreach=True)


def share(params, extra):
    """Averages gradients over the processes; extra is summed along and returned."""
    grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in params]
    flat = torch.cat([g.flatten() for g in grads] + [torch.tensor(extra)])
    dist.all_reduce(flat)
    summed, at = flat[-len(extra) :].tolist(), 0
    flat /= dist.get_world_size()
    for p in params:
        p.grad = flat[at : at + p.numel()].view_as(p)
        at += p.numel()
    return summed


def save(path, state):
    """Stores all state by rename, so that a cut leaves the old one."""
    torch.save(state, path + ".new")
    os.replace(path + ".new", path)


def run(rank, args):
    """One of the training processes."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{args.port}", rank=rank, world_size=args.processes
    )
    prepared = f"{args.work}/prepared"
    tokenizer = Tokenizer.load(prepared)
    torch.manual_seed(args.seed)
    net = clip.create(
        clip.config(len(tokenizer), args.width, args.depth, args.text_width, args.text_depth)
    )
    torch.nn.init.constant_(net.logit_scale, math.log(14))
    ema = copy.deepcopy(net) if rank == 0 else None
    batches = Batches(prepared, args.batch, args.seed * 100 + rank, args.area)
    head = torch.nn.Linear(args.width, len(batches.label_ids))
    params = list(net.parameters()) + list(head.parameters())
    opt = optimiser([net, head], args.rate)
    step, seen, before, losses = 0, 0, 0.0, 0.0
    path = f"{args.work}/checkpoint.pt"
    if args.resume:
        state = torch.load(path, weights_only=False)
        net.load_state_dict(state["raw"])
        head.load_state_dict(state["head"])
        opt.load_state_dict(state["optimiser"])
        step, seen, before = state["step"], state["seen"], state["seconds"]
        batches.rng = type(batches.rng)(type(batches.rng.bit_generator)([args.seed, rank, step]))
        if ema:
            ema.load_state_dict(state["ema"])
    torch.manual_seed(args.seed * 1000 + rank + step)  # dropped patches differ between processes
    start = saved = shown = time.time()
    progress, total = before / (60 * args.minutes), 60 * args.minutes
    shown_seen = seen
    while progress < 1:
        rate, edge, keep = schedule(progress, args.rate)
        for group in opt.param_groups:
            group["lr"] = rate
        pixels, said, truth, labels = batches.next(edge)
        ids = torch.tensor(tokenizer.batch(said))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            pooled = clip.pooled_image(net, pixels, keep)
            images, words = clip.image_vectors(net, pooled), clip.text_vectors(net, ids)
            guesses = head(pooled).float()
        loss = contrastive(images, words, net.logit_scale.exp(), truth)
        if (labels >= 0).any():
            loss = loss + LABEL_WEIGHT * F.cross_entropy(
                guesses, labels, ignore_index=-1, label_smoothing=0.1
            )
        opt.zero_grad(set_to_none=True)
        loss.backward()
        seconds = before + time.time() - start if rank == 0 else 0.0
        seconds, loss_sum = share(params, [seconds, loss.item()])
        torch.nn.utils.clip_grad_norm_(params, CLIP_NORM)
        opt.step()
        with torch.no_grad():
            net.logit_scale.clamp_(max=math.log(100))
        step, seen, progress = step + 1, seen + args.batch * args.processes, seconds / total
        losses += loss_sum / args.processes
        if rank == 0:
            with torch.no_grad():
                decay = min(EMA, (1 + step) / (10 + step))
                torch._foreach_lerp_(list(ema.parameters()), list(net.parameters()), 1 - decay)
            now = time.time()
            if step % 50 == 0:
                print(
                    f"{time.strftime('%H:%M:%S')} step {step} seen {seen} progress {progress:.3f} edge {edge} keep {keep} "
                    f"rate {rate:.1e} loss {losses / 50:.3f} scale {net.logit_scale.exp().item():.1f} "
                    f"{(seen - shown_seen) / (now - shown):.0f} pictures/s",
                    flush=True,
                )
                losses, shown, shown_seen = 0.0, now, seen
            if now - saved > args.save_every or progress >= 1:
                save(
                    path,
                    {
                        "raw": net.state_dict(),
                        "ema": ema.state_dict(),
                        "head": head.state_dict(),
                        "optimiser": opt.state_dict(),
                        "config": net.config.to_dict(),
                        "step": step,
                        "seen": seen,
                        "seconds": seconds,
                        "arguments": vars(args),
                    },
                )
                saved = time.time()
    dist.destroy_process_group()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", default=".train", help="folder that prepare.py filled")
    parser.add_argument("--minutes", type=float, default=80, help="training time by the clock")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--batch", type=int, default=64, help="pictures per process and step")
    parser.add_argument("--rate", type=float, default=7e-4, help="highest learning rate")
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--depth", type=int, default=6)
    parser.add_argument("--text-width", type=int, default=192)
    parser.add_argument("--text-depth", type=int, default=3)
    parser.add_argument(
        "--area", type=float, default=0.45, help="smallest share of a photo that a cut keeps"
    )
    parser.add_argument("--save-every", type=float, default=120, help="seconds between checkpoints")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--port", type=int, default=29517)
    parser.add_argument("--resume", action="store_true")
    mp.spawn(run, args=(args := parser.parse_args(),), nprocs=args.processes)


if __name__ == "__main__":
    main()
