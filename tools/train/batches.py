"""Draws training batches: pictures cut and varied, texts, and which are true of which."""

import pickle

import numpy as np
import torch
from PIL import Image

import texts

MEAN, STD = 0.5, 0.27  # what preprocessor_config.json says as well
DRAWN = {"shapes": 0.10, "pasted": 0.10}  # share of each batch
SMALLEST_AREA = {"emoji": 0.7, "flags": 0.7, "shapes": 0.85, "nlvr": 0.85, "pasted": 0.8}
SOFT_SHARE = 0.12  # pictures made small and soft, as thumbnails are


class Batches:
    """Endless random batches for one process."""

    def __init__(self, folder, size, seed, area):
        with open(f"{folder}/train.pickle", "rb") as f:
            self.rows = pickle.load(f)
        self.pixels = np.memmap(f"{folder}/pixels.u8", dtype=np.uint8, mode="r")
        self.rng = np.random.default_rng(seed)
        self.size, self.area = size, area
        names = np.array([p.set_name for p, _ in self.rows])
        self.drawn = {s: np.nonzero(names == s)[0] for s in DRAWN}
        self.real = np.nonzero(~np.isin(names, list(DRAWN)))[0]
        weight = np.array([texts.SAMPLING[s] for s in names[self.real]])
        self.weight = np.cumsum(weight / weight.sum())
        labels = sorted(
            {(p.set_name, p.label) for p, _ in self.rows if p.set_name in texts.LABEL_SETS}
        )
        self.label_ids = {label: i for i, label in enumerate(labels)}

    def pick(self):
        """Row numbers of one batch."""
        counts = {s: self.rng.binomial(self.size, share) for s, share in DRAWN.items()}
        picked = [self.rng.choice(self.drawn[s], n) for s, n in counts.items()]
        n = self.size - sum(counts.values())
        at = np.searchsorted(self.weight, self.rng.random(n)).clip(max=len(self.real) - 1)
        return np.concatenate(picked + [self.real[at]])

    def cut(self, picture, place, edge):
        """A random cut of one picture as [edge, edge, 3] uint8."""
        at, h, w = place
        im = Image.frombuffer("RGB", (w, h), self.pixels[at : at + h * w * 3], "raw", "RGB", 0, 1)
        rng = self.rng
        area = rng.uniform(SMALLEST_AREA.get(picture.set_name, self.area), 1) * min(w, h) ** 2
        aspect = (
            1.0
            if picture.set_name in DRAWN or picture.set_name == "nlvr"
            else np.exp(rng.uniform(-0.28, 0.28))
        )
        cw, ch = min(w, np.sqrt(area * aspect)), min(h, np.sqrt(area / aspect))
        x, y = rng.uniform(0, w - cw), rng.uniform(0, h - ch)
        if w > h and rng.random() < 0.15:  # the whole of a long picture, squeezed
            x, y, cw, ch = 0, 0, w, h
        box = (x, y, x + cw, y + ch)
        if picture.set_name not in DRAWN and rng.random() < SOFT_SHARE:
            small = int(rng.integers(32, 72))
            im, box = im.resize((small, small), Image.Resampling.BICUBIC, box=box), None
        out = np.asarray(im.resize((edge, edge), Image.Resampling.BICUBIC, box=box))
        return out[:, ::-1] if picture.flip and rng.random() < 0.5 else out

    def jitter(self, x):
        """Varies brightness, contrast and saturation of [B, 3, s, s] in 0..1 by a fifth."""
        gain = torch.from_numpy(self.rng.uniform(0.8, 1.2, (3, len(x), 1, 1, 1)).astype(np.float32))
        x = x * gain[0]
        x = (x - (centre := x.mean((1, 2, 3), keepdim=True))) * gain[1] + centre
        grey = x.mean(1, keepdim=True)
        return ((x - grey) * gain[2] + grey).clamp_(0, 1)

    def next(self, edge):
        """(pixels [B, 3, edge, edge] standardised, texts, truth [B, B] 0/1, label ids or -1)."""
        chosen = [self.rows[i] for i in self.pick()]
        cuts = np.stack([self.cut(p, place, edge) for p, place in chosen])
        x = torch.from_numpy(cuts).permute(0, 3, 1, 2).float() / 255
        x = (self.jitter(x) - MEAN) / STD
        said = [texts.draw(p, self.rng) for p, _ in chosen]
        truth = np.array([[key in p.keys for _, key in said] for p, _ in chosen], dtype=np.float32)
        np.fill_diagonal(truth, 1)
        labels = [self.label_ids.get((p.set_name, p.label), -1) for p, _ in chosen]
        return x, [text for text, _ in said], torch.from_numpy(truth), torch.tensor(labels)
