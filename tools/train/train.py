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

import numpy as np
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
SHOW_EVERY = 50  # steps between lines of the log


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
        turn = math.pi * (progress - WARM_UP) / (1 - WARM_UP)
        rate = 1e-6 + (peak - 1e-6) * 0.5 * (1 + math.cos(turn))
    if progress < SMALL_UNTIL:
        return rate, 64, 1.0
    return rate, 128, 0.5 if progress < DROP_UNTIL else 1.0


def optimiser(modules, rate):
    """AdamW; no decay on vectors, embeddings and the logit scale."""
    decay, plain = [], []
    for module in modules:
        for name, p in module.named_parameters():
            table = "embedding.weight" in name and "patch" not in name
            (plain if p.ndim < 2 or table else decay).append(p)
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


class Log:
    """Prints the mean loss and the rate of pictures every SHOW_EVERY steps."""

    def __init__(self, seen):
        self.losses, self.n, self.at, self.seen = 0.0, 0, time.time(), seen

    def step(self, step, seen, loss, words):
        """Takes the loss of one step."""
        self.losses, self.n = self.losses + loss, self.n + 1
        if step % SHOW_EVERY:
            return
        now = time.time()
        rate = (seen - self.seen) / (now - self.at)
        print(
            f"{time.strftime('%H:%M:%S')} step {step} seen {seen} {words} "
            f"loss {self.losses / self.n:.3f} {rate:.0f} pictures/s",
            flush=True,
        )
        self.losses, self.n, self.at, self.seen = 0.0, 0, now, seen


class Trainer:
    """The state of one training process; process 0 also keeps the average and the checkpoint."""

    def __init__(self, rank, args):
        self.rank, self.args = rank, args
        self.path = f"{args.work}/checkpoint.pt"
        prepared = f"{args.work}/prepared"
        self.tokenizer = Tokenizer.load(prepared)
        self.batches = Batches(prepared, args.batch, args.seed * 100 + rank, args.area)
        torch.manual_seed(args.seed)  # all processes start from the same weights
        shape = (args.width, args.depth, args.text_width, args.text_depth)
        self.net = clip.create(clip.config(len(self.tokenizer), *shape))
        torch.nn.init.constant_(self.net.logit_scale, math.log(14))
        self.head = torch.nn.Linear(args.width, len(self.batches.label_ids))
        self.params = list(self.net.parameters()) + list(self.head.parameters())
        self.opt = optimiser([self.net, self.head], args.rate)
        self.ema = copy.deepcopy(self.net) if rank == 0 else None
        self.step, self.seen, self.seconds = 0, 0, 0.0
        if args.resume:
            self.load()
        torch.manual_seed(args.seed * 1000 + rank + self.step)  # dropped patches differ

    def load(self):
        """Takes up the checkpoint; the order of pictures starts anew from the step's seed."""
        state = torch.load(self.path, weights_only=False)
        self.net.load_state_dict(state["raw"])
        self.head.load_state_dict(state["head"])
        self.opt.load_state_dict(state["optimiser"])
        self.step, self.seen, self.seconds = state["step"], state["seen"], state["seconds"]
        self.batches.rng = np.random.default_rng([self.args.seed, self.rank, self.step])
        if self.ema:
            self.ema.load_state_dict(state["ema"])

    def save(self):
        """Stores all state by rename, so that a cut leaves the old one."""
        state = {
            "raw": self.net.state_dict(),
            "ema": self.ema.state_dict(),
            "head": self.head.state_dict(),
            "optimiser": self.opt.state_dict(),
            "config": self.net.config.to_dict(),
            "step": self.step,
            "seen": self.seen,
            "seconds": self.seconds,
            "arguments": vars(self.args),
        }
        torch.save(state, self.path + ".new")
        os.replace(self.path + ".new", self.path)

    def loss(self, edge, keep):
        """Loss of one fresh batch."""
        pixels, said, truth, labels = self.batches.next(edge)
        ids = torch.tensor(self.tokenizer.batch(said))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            pooled = clip.pooled_image(self.net, pixels, keep)
            images, words = clip.image_vectors(self.net, pooled), clip.text_vectors(self.net, ids)
            guesses = self.head(pooled).float()
        loss = contrastive(images, words, self.net.logit_scale.exp(), truth)
        if (labels >= 0).any():
            by_label = F.cross_entropy(guesses, labels, ignore_index=-1, label_smoothing=0.1)
            loss = loss + LABEL_WEIGHT * by_label
        return loss

    def advance(self, rate, edge, keep, clock):
        """One step; clock() is the training time so far. Returns the mean loss."""
        for group in self.opt.param_groups:
            group["lr"] = rate
        loss = self.loss(edge, keep)
        self.opt.zero_grad(set_to_none=True)
        loss.backward()
        # process 0 tells the time, so that all end at the same step
        mine = clock() if self.rank == 0 else 0.0
        self.seconds, losses = share(self.params, [mine, loss.item()])
        torch.nn.utils.clip_grad_norm_(self.params, CLIP_NORM)
        self.opt.step()
        self.step += 1
        self.seen += self.args.batch * self.args.processes
        with torch.no_grad():
            self.net.logit_scale.clamp_(max=math.log(100))
            if self.ema:
                decay = min(EMA, (1 + self.step) / (10 + self.step))
                mean, now = list(self.ema.parameters()), list(self.net.parameters())
                torch._foreach_lerp_(mean, now, 1 - decay)
        return losses / self.args.processes

    def run(self):
        """Trains until the time is spent."""
        total, before = 60 * self.args.minutes, self.seconds
        start = saved = time.time()
        log = Log(self.seen)
        while self.seconds < total:
            progress = self.seconds / total
            rate, edge, keep = schedule(progress, self.args.rate)
            loss = self.advance(rate, edge, keep, lambda: before + time.time() - start)
            if self.rank == 0:
                words = f"progress {progress:.3f} edge {edge} keep {keep} rate {rate:.1e}"
                log.step(self.step, self.seen, loss, words)
                if time.time() - saved > self.args.save_every or self.seconds >= total:
                    self.save()
                    saved = time.time()


def process(rank, args):
    """Body of one training process."""
    torch.set_num_threads(1)
    address = f"tcp://127.0.0.1:{args.port}"
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=args.processes)
    Trainer(rank, args).run()
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
    parser.add_argument("--area", type=float, default=0.45, help="least share a cut keeps")
    parser.add_argument("--save-every", type=float, default=120, help="seconds")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--port", type=int, default=29517, help="local port of the processes")
    parser.add_argument("--resume", action="store_true")
    args = parser.parse_args()
    mp.spawn(process, args=(args,), nprocs=args.processes)


if __name__ == "__main__":
    main()
